/** Whole inputs looked at once: scores, embeddings, and everything a forward pass can show. Each runs on a state of its own that is thrown away. */
import type { StateHandle } from "../backend/interface.ts"
import { OptionError } from "../errors.ts"
import { checkOptions, type OptionTable } from "../options.ts"
import type { IdReader } from "./ids.ts"
import { allFinite, asFloats } from "./numbers.ts"
import { type ChunkOutputs, chunkRows, type Runner } from "./runner.ts"
import type { EmbedOptions, FeedInput, ForwardOptions, ForwardResult, Ids, NumericArray, ScoreResult, WorkOptions } from "./types.ts"

/** Options of every call that may take long. */
export const workOptions: OptionTable = { signal: { type: "signal" }, onProgress: { type: "function" } }

async function withState<T>(runner: Runner, body: (state: StateHandle) => Promise<T>): Promise<T> {
  const state = await runner.newState(1)
  try {
    return await body(state)
  } finally {
    runner.engine.release(state)
  }
}

function empty(what: string): OptionError {
  return new OptionError("PROMPT_EMPTY", `${what} has no tokens.`, { fix: "Give at least one." })
}

/** A list that grows by doubling: the only memory of a long pass that is not constant is its result. */
class Growing<T extends Float32Array | Int32Array> {
  #array: T
  #length = 0
  constructor(array: T) {
    this.#array = array
  }
  push(values: T): void {
    const needed = this.#length + values.length
    if (needed > this.#array.length) {
      const larger = new (this.#array.constructor as new (length: number) => T)(Math.max(needed, 2 * this.#array.length))
      larger.set(this.#array.subarray(0, this.#length))
      this.#array = larger
    }
    this.#array.set(values, this.#length)
    this.#length = needed
  }
  take(): T {
    return this.#array.slice(0, this.#length) as T
  }
}

/** Calls `run` with slices of at most `chunkRows` ids, each with the id that follows it (none for the last). */
async function inChunks(
  ids: AsyncIterable<Int32Array>,
  signal: AbortSignal | undefined,
  run: (chunk: Int32Array, following: number | undefined) => Promise<void>,
): Promise<void> {
  let waiting: Int32Array = new Int32Array()
  for await (const part of ids) {
    signal?.throwIfAborted()
    const joined = new Int32Array(waiting.length + part.length)
    joined.set(waiting)
    joined.set(part, waiting.length)
    let at = 0
    for (; joined.length - at > chunkRows; at += chunkRows) await run(joined.slice(at, at + chunkRows), joined[at + chunkRows])
    waiting = joined.slice(at)
  }
  signal?.throwIfAborted()
  if (waiting.length > 0) await run(waiting, undefined)
}

/** Log-probability of every token of the input given those before it. */
export async function score(runner: Runner, reader: IdReader, input: FeedInput, options: WorkOptions = {}): Promise<ScoreResult> {
  checkOptions("score", options, workOptions)
  const { signal, onProgress } = options
  signal?.throwIfAborted()
  const tokens = new Growing<Int32Array>(new Int32Array(chunkRows))
  const logprobs = new Growing<Float32Array>(new Float32Array(chunkRows))
  logprobs.push(Float32Array.of(Number.NaN))
  let loaded = 0
  let nats = 0
  await withState(runner, (state) =>
    inChunks(reader.stream(input), signal, async (chunk, following) => {
      tokens.push(chunk)
      loaded += chunk.length
      // The last token predicts nothing that is known.
      const rows = following === undefined ? chunk.slice(0, -1) : chunk
      if (rows.length > 0) {
        const targets = Int32Array.from(rows, (_id, at) => chunk[at + 1] ?? (following as number))
        const { nll } = await runner.chunk(state, [rows], { outputs: { targets: true }, targets, read: ["nll"], signal })
        const values = asFloats(nll).subarray(0, rows.length)
        if (!allFinite(values)) throw await runner.nonFinite()
        for (const value of values) nats += value
        logprobs.push(values.map((value) => -value))
      }
      onProgress?.({ phase: "score", loaded })
    }),
  )
  if (loaded === 0) throw empty("The input")
  return { logprobs: logprobs.take(), tokens: tokens.take(), nats }
}

/** One vector of the last layer, [hiddenSize]. */
export async function embed(runner: Runner, reader: IdReader, input: FeedInput, options: EmbedOptions = {}): Promise<Float32Array> {
  checkOptions("embed", options, { ...workOptions, pooling: { type: "string", values: ["mean", "last"] } })
  const { signal, onProgress, pooling = "mean" } = options
  signal?.throwIfAborted()
  let count = 0
  const vector = await withState(runner, async (state) => {
    await inChunks(reader.stream(input), signal, async (chunk, following) => {
      count += chunk.length
      const alone = pooling === "last" && following === undefined ? chunk.length - 1 : 0
      if (pooling === "mean") await runner.chunk(state, [chunk], { outputs: { pool: true }, signal })
      else if (alone === 0 && following !== undefined) await runner.chunk(state, [chunk], { signal })
      else {
        if (alone > 0) await runner.chunk(state, [chunk.slice(0, alone)], { signal })
        await runner.chunk(state, [chunk.slice(alone)], { outputs: { pool: true }, signal })
      }
      onProgress?.({ phase: "embed", loaded: count })
    })
    if (count === 0) throw empty("The input")
    return asFloats(await runner.engine.read(state, "pool")).slice()
  })
  const result = pooling === "mean" ? vector.map((sum) => sum / count) : vector
  if (!allFinite(result)) throw await runner.nonFinite()
  return result
}

/** Positions of a program that outputs logits, so that those take at most 32 MiB. */
function logitsLength(vocabRows: number): number {
  const fits = 2 ** 25 / (4 * vocabRows)
  return Math.max(16, Math.min(chunkRows, 2 ** Math.floor(Math.log2(fits))))
}

/** Logits, and on request hidden states and inner values, of every position. */
export async function forward(runner: Runner, reader: IdReader, input: Ids, options: ForwardOptions = {}): Promise<ForwardResult> {
  checkOptions("forward", options, {
    ...workOptions,
    logitsToKeep: { type: "number", integer: true, min: 0 },
    hiddenStates: { type: "boolean" },
    capture: { type: "array" },
  })
  const { model } = runner
  const { signal, onProgress, logitsToKeep = 0, hiddenStates = false, capture = [] } = options
  const ids = await reader.read(input)
  const length = ids.length
  if (length === 0) throw empty("The input")
  for (const name of capture) {
    if (model.captures.includes(name)) continue
    throw new OptionError("OPTION_RANGE", `${model.family} has no ${JSON.stringify(name)} to capture.`, {
      fix: `Choose from ${model.captures.join(", ")}.`,
    })
  }
  const keep = logitsToKeep === 0 ? length : Math.min(logitsToKeep, length)
  const shown: ChunkOutputs = { ...(hiddenStates && { hidden: true }), ...(capture.length > 0 && { capture: [...capture] }) }
  // Which layers offer a value, and how wide it is, is known to the trace alone.
  const widths = runner.outputWidths({ kind: "chunk", b: 1, l: chunkRows, ...shown })
  runner.require(
    [["logits", 4 * keep * model.vocabSize], ...[...widths].map(([name, width]) => [name, 4 * length * width] as const)],
    `A forward pass over ${length} tokens`,
  )
  signal?.throwIfAborted()
  const array = (rows: number, width: number): NumericArray => ({ data: new Float32Array(rows * width), shape: [rows, width] })
  const logits = array(keep, model.vocabSize)
  const targets = new Map([...widths].map(([name, width]) => [name, array(length, width)]))
  await withState(runner, async (state) => {
    const first = length - keep
    for (let at = 0; at < length; ) {
      const wanted = at >= first
      const l = wanted ? logitsLength(model.vocabRows) : chunkRows
      const rows = ids.slice(at, Math.min(at + l, wanted ? length : first))
      const outputs = { ...shown, ...(wanted && { logits: true }) }
      const read = [...targets.keys(), ...(wanted ? ["logits"] : [])]
      const values = await runner.chunk(state, [rows], { outputs, read, length: l, signal })
      for (const [name, target] of targets) {
        const width = target.shape[1] as number
        target.data.set(asFloats(values[name] as Uint8Array).subarray(0, rows.length * width), at * width)
      }
      if (wanted) copyLogits(asFloats(values.logits as Uint8Array), model.vocabRows, logits, at - first, rows.length)
      at += rows.length
      onProgress?.({ phase: "forward", loaded: at, total: length })
    }
  })
  if (!allFinite(logits.data)) throw await runner.nonFinite()
  const named = (prefix: string, suffix: string): NumericArray[] =>
    [...targets].filter(([name]) => name.startsWith(prefix) && name.endsWith(suffix)).map(([, target]) => target)
  return {
    logits,
    hiddenStates: hiddenStates ? named("hidden.", "") : undefined,
    captured: Object.fromEntries(capture.map((name) => [name, named("capture.", `.${name}`)])),
  }
}

/** Copies rows and leaves out the padding of the vocabulary. */
function copyLogits(from: Float32Array, vocabRows: number, to: NumericArray, at: number, count: number): void {
  const vocabSize = to.shape[1] as number
  for (let row = 0; row < count; row++) to.data.set(from.subarray(row * vocabRows, row * vocabRows + vocabSize), (at + row) * vocabSize)
}
