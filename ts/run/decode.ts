/** The loop that turns logits into pieces, for one session or for the rows of a batch. */
import type { StateHandle } from "../backend/interface.ts"
import { DisposedError } from "../errors.ts"
import { maxSteps, type Runner, type StepOutput } from "./runner.ts"
import { publicSeed, type Sampling } from "./sampling.ts"
import type { StopText } from "./text.ts"
import type { FinishReason, Piece, Result } from "./types.ts"

/** A batch of steps should not take longer than this: pieces still flow, and an early end has little to replay. */
const batchMilliseconds = 10

/** One sequence that is being continued. What it knows changes only when a piece is handed out. */
export class DecodeRow {
  /** Token that was handed out (or fed) and waits to go through the model; absent while `logits` are known. */
  pending: number | undefined
  logits: Float32Array | undefined
  /** Tokens that went through the model. */
  fed: number
  seed: bigint
  counter: bigint
  seen: Uint8Array
  finish: FinishReason | undefined
  readonly tokens: number[] = []
  readonly logprobs: number[] = []
  text = ""
  readonly #promptTokens: number
  readonly #stops: StopText

  constructor(
    start: {
      pending?: number | undefined
      logits?: Float32Array | undefined
      fed: number
      seed: bigint
      counter: bigint
      seen: Uint8Array
    },
    stops: StopText,
  ) {
    this.pending = start.pending
    this.logits = start.logits
    this.fed = start.fed
    this.seed = start.seed
    this.counter = start.counter
    this.seen = start.seen
    this.#promptTokens = start.fed + (start.pending === undefined ? 0 : 1)
    this.#stops = stops
  }

  /** Takes a drawn token over and says what of it can be shown. */
  take(token: number, logprob: number, row: number, maxNewTokens: number, eos: ReadonlySet<number>): Piece {
    if (this.pending !== undefined) this.fed++
    this.pending = token
    this.logits = undefined
    this.counter++
    markSeen(this.seen, token)
    const index = this.tokens.push(token) - 1
    this.logprobs.push(logprob)
    let { text, stopped } = eos.has(token) ? { text: "", stopped: false } : this.#stops.push(token)
    this.finish = eos.has(token) ? "eos" : stopped ? "stop" : this.tokens.length >= maxNewTokens ? "length" : undefined
    if (this.finish === "eos" || this.finish === "length") {
      const rest = this.#stops.end()
      text += rest.text
      if (rest.stopped) this.finish = "stop"
    }
    this.text += text
    return { text, token, logprob, index, row }
  }

  result(sampled: boolean): Result {
    const { text, tokens, logprobs } = this
    return {
      text,
      tokens: [...tokens],
      logprobs: [...logprobs],
      finishReason: this.finish ?? "abort",
      seed: sampled ? publicSeed(this.seed) : undefined,
      usage: { promptTokens: this.#promptTokens, completionTokens: tokens.length },
    }
  }
}

export function markSeen(seen: Uint8Array, id: number): void {
  seen[id >> 3] = (seen[id >> 3] as number) | (1 << (id & 7))
}

/** The way back to the start of a batch of steps. */
export interface Keeper {
  keep(): Promise<void>
  restore(): Promise<void>
}

export interface Decoding {
  runner: Runner
  state: StateHandle
  /** As many as the state has. */
  rows: DecodeRow[]
  sampling: Sampling
  eos: readonly number[]
  /** Added to `Piece.row`. */
  firstRow?: number
  /** With it the state is exact however the generation ends; without it the state is thrown away afterwards. */
  keeper?: Keeper
  signal?: AbortSignal | undefined
  stopOnAbort?: boolean | undefined
}

interface Batch {
  output: StepOutput
  steps: number
  from: number | undefined
  milliseconds: number
}

/** Yields pieces until every row is finished. On every early end it first makes the state that of the pieces handed out. */
export async function* decode(decoding: Decoding): AsyncGenerator<Piece, void, undefined> {
  const { runner, state, rows, sampling, eos, signal } = decoding
  const live = (): DecodeRow[] => rows.filter((row) => row.finish === undefined)
  if (sampling.maxNewTokens === 0) for (const row of live()) row.finish = "length"
  if (live().length === 0) return
  await runner.prepare(state, sampling, rows, eos)
  let pace = 1
  let ahead: Promise<Batch> | undefined
  try {
    for (let [first] = live(); first !== undefined; [first] = live()) {
      try {
        signal?.throwIfAborted()
        const left = sampling.maxNewTokens - first.tokens.length
        const batch = await (ahead ?? runBatch(decoding, first, Math.min(pace, left)))
        ahead = undefined
        pace = Math.max(1, Math.min(maxSteps, Math.floor((batchMilliseconds * batch.steps) / batch.milliseconds)))
        // A GPU need not wait for whoever takes the pieces. Nobody needs the state of rows that end meanwhile, but a session.
        if (runner.isGpu && decoding.keeper === undefined && left > batch.steps) {
          ahead = runAhead(decoding, Math.min(pace, left - batch.steps))
          ahead.catch(() => undefined)
        }
        yield* handOut(decoding, batch)
      } catch (error) {
        if (!(signal?.aborted && decoding.stopOnAbort) || signal.reason instanceof DisposedError) throw error
        for (const row of live()) row.finish = "abort"
      }
    }
  } finally {
    await ahead?.catch(() => undefined)
  }
}

async function runBatch(decoding: Decoding, first: DecodeRow, steps: number): Promise<Batch> {
  const { runner, state, rows, keeper, signal } = decoding
  await keeper?.keep()
  const started = performance.now()
  const batch = (output: StepOutput, steps: number, from?: number): Batch => {
    return { output, steps, from, milliseconds: performance.now() - started }
  }
  try {
    if (first.logits !== undefined) return batch(await runner.sample(state, first.logits, signal), 1)
    const tokens = Int32Array.from(rows, (row) => row.pending ?? 0)
    const lens = Int32Array.from(rows, (row) => (row.finish === undefined ? 1 : 0))
    return batch(await runner.step(state, tokens, lens, steps, signal), steps, first.pending)
  } catch (error) {
    await keeper?.restore()
    throw error
  }
}

/** Steps that follow those whose pieces are yet to be handed out. */
async function runAhead({ runner, state, rows, signal }: Decoding, steps: number): Promise<Batch> {
  const started = performance.now()
  const output = await runner.more(state, rows.length, steps, signal)
  return { output, steps, from: undefined, milliseconds: performance.now() - started }
}

async function* handOut(decoding: Decoding, { output, steps, from }: Batch): AsyncGenerator<Piece, void, undefined> {
  const { runner, state, rows, sampling, signal, keeper, firstRow = 0 } = decoding
  const eos = new Set(decoding.eos)
  let handed = 0
  try {
    for (let step = 0; step < steps; step++) {
      for (const [i, row] of rows.entries()) {
        if (row.finish !== undefined) continue
        signal?.throwIfAborted()
        const token = output.tokens[i * maxSteps + step] as number
        if (token < 0) throw await runner.nonFinite()
        const piece = row.take(token, output.logprobs[i * maxSteps + step] as number, firstRow + i, sampling.maxNewTokens, eos)
        handed = step + 1
        yield piece
      }
    }
  } finally {
    // A row that the engine froze at eos stands where it should; everything else that ran on has to be taken back. Only sessions keep their
    // state, and they have one row.
    if (keeper !== undefined && handed < steps && !(handed > 0 && eos.has(output.tokens[handed - 1] as number))) {
      await keeper.restore()
      if (handed > 0) await runner.step(state, Int32Array.of(from as number), Int32Array.of(1), handed)
    }
  }
}

/** Pieces as they come, and the whole at the end. Nothing runs before the first `next()` or `result()`. */
export class Generation<R> implements AsyncIterableIterator<Piece, void, undefined> {
  readonly #pieces: AsyncGenerator<Piece, void, undefined>
  readonly #result: () => R
  #failure: { error: unknown } | undefined

  constructor(pieces: AsyncGenerator<Piece, void, undefined>, result: () => R) {
    this.#pieces = pieces
    this.#result = result
  }

  async next(): Promise<IteratorResult<Piece, void>> {
    try {
      return await this.#pieces.next()
    } catch (error) {
      this.#failure = { error }
      throw error
    }
  }

  /** Ends the generation; resolves when the session is whole again. `break` in a `for await` calls it. */
  async return(): Promise<IteratorResult<Piece, void>> {
    return this.#pieces.return()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** Draws what is left and resolves to the result of everything, pieces already handed out included. */
  async result(): Promise<R> {
    while (this.#failure === undefined && (await this.next()).done !== true);
    if (this.#failure !== undefined) throw this.#failure.error
    return this.#result()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }
}
