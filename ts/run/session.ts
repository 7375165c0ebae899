/** The state of one conversation: fed, continued, looked at, saved and copied. */
import type { StateHandle } from "../backend/interface.ts"
import { DisposedError, OptionError, SessionBusyError } from "../errors.ts"
import { checkOptions } from "../options.ts"
import { DecodeRow, decode, Generation, markSeen } from "./decode.ts"
import type { IdReader } from "./ids.ts"
import { SessionMemory } from "./memory.ts"
import { workOptions } from "./passes.ts"
import type { Runner } from "./runner.ts"
import { randomSeed, resolveSampling } from "./sampling.ts"
import { readSnapshot, writeSnapshot } from "./state.ts"
import { StopText, type TokenStream } from "./text.ts"
import type { FeedInput, GenerateOptions, Piece, Result, WorkOptions } from "./types.ts"

/** What a session needs of its model. */
export interface SessionContext {
  readonly runner: Runner
  readonly reader: IdReader
  readonly generationConfig: Readonly<Record<string, unknown>>
  readonly eos: readonly number[]
  readonly bos: number | undefined
  /** Of the checkpoint, see `spec/state.md`. */
  fingerprint(): string
  /** A new stream of text, or undefined without a tokenizer; throws TokenizerError when `needed`. */
  stream(needed: boolean): TokenStream | undefined
  /** Called when a session is made and when it is disposed. */
  opened(session: Session): void
  closed(session: Session): void
}

/** Combines the caller's signal with the session's own end. */
function either(own: AbortSignal, given: AbortSignal | undefined): AbortSignal {
  return given === undefined ? own : AbortSignal.any([own, given])
}

export class Session {
  readonly #context: SessionContext
  readonly #memory: SessionMemory
  readonly #end = new AbortController()
  #busy = false
  #fed = 0
  #pending: number | undefined
  /** The pending token was fed by the caller (not handed out by `generate`): `save` puts it through the model first. */
  #flush = false
  #logits: Float32Array | undefined
  #rng: { seed: bigint; counter: bigint } | undefined
  #seen: Uint8Array

  /** Made by `model.session()`. */
  constructor(context: SessionContext, bytes?: Uint8Array) {
    this.#context = context
    this.#memory = new SessionMemory(context.runner)
    this.#seen = new Uint8Array(Math.ceil(context.runner.model.vocabRows / 8))
    if (bytes !== undefined) this.#restore(bytes)
    context.opened(this)
  }

  /** Tokens that the session holds: fed, and handed out by `generate`. */
  get tokens(): number {
    return this.#fed + (this.#pending === undefined ? 0 : 1)
  }

  /**
   * Feeds text, ids, or a stream of either, in constant memory. If it fails or is aborted the session is as it was before. `onProgress`
   * counts tokens.
   */
  async feed(input: FeedInput, options?: WorkOptions): Promise<void> {
    checkOptions("feed", options, workOptions)
    return this.#exclusive(async (state) => {
      const signal = either(this.#end.signal, options?.signal)
      let kept = false
      const keep = async (): Promise<void> => {
        if (!kept) await this.#memory.keep()
        kept = true
      }
      try {
        await this.#feed(state, input, keep, signal, options?.onProgress)
      } catch (error) {
        if (kept) await this.#memory.restore()
        throw error
      }
    })
  }

  /** `keep` is called before the state changes. */
  async #feed(
    state: StateHandle,
    input: FeedInput,
    keep: () => Promise<void>,
    signal: AbortSignal,
    onProgress: WorkOptions["onProgress"],
  ): Promise<void> {
    const { runner, reader } = this.#context
    const before = this.tokens
    const seen = this.#seen.slice()
    // One more than a chunk: the last token of a feed stays pending, so that its logits are made only when somebody asks.
    const most = runner.chunkLength(1, Number.POSITIVE_INFINITY)
    const waiting = new Int32Array(most + 1)
    let count = 0
    let fed = this.#fed
    if (this.#pending !== undefined) waiting[count++] = this.#pending
    const run = async (): Promise<void> => {
      signal.throwIfAborted()
      await keep()
      const l = runner.chunkLength(1, count - 1)
      const length = Math.min(l, count - 1)
      await runner.chunk(state, [waiting.slice(0, length)], { length: l, signal })
      waiting.copyWithin(0, length, count)
      count -= length
      fed += length
      onProgress?.({ phase: "feed", loaded: fed + count - before })
    }
    signal.throwIfAborted()
    for await (const ids of reader.stream(input)) {
      signal.throwIfAborted()
      for (const id of ids) {
        markSeen(seen, id)
        waiting[count++] = id
        if (count > most) await run()
      }
    }
    while (count > 1) await run()
    if (fed + count === before) return
    this.#fed = fed
    this.#pending = waiting[0]
    this.#logits = undefined
    this.#seen = seen
    this.#flush = true
  }

  /** Logits of the next token, [vocabSize]. */
  async logits(): Promise<Float32Array> {
    return this.#exclusive(async (state) => (await this.#known(state)).slice())
  }

  /** The token that waits to go through the model; bos when nothing was ever fed. */
  #next(): number | undefined {
    const { bos } = this.#context
    if (this.tokens > 0) return this.#pending
    if (bos === undefined) {
      throw new OptionError("PROMPT_EMPTY", "Nothing was fed, and the model has no bos_token_id to start from.", {
        fix: "Feed at least one token first.",
      })
    }
    return bos
  }

  async #known(state: StateHandle): Promise<Float32Array> {
    const token = this.#next()
    if (token !== undefined) {
      await this.#memory.keep()
      try {
        this.#logits = await this.#context.runner.logits(state, token, this.#end.signal)
      } catch (error) {
        await this.#memory.restore()
        throw error
      }
      markSeen(this.#seen, token)
      this.#fed++
      this.#pending = undefined
    }
    return this.#logits as Float32Array
  }

  /**
   * Continues what was fed. Pieces come as they are made; however the generation ends, the session then holds what was fed and the pieces
   * that were handed out, and can go on from there.
   */
  generate(options?: GenerateOptions): Generation<Result> {
    const { generationConfig, stream } = this.#context
    const sampling = resolveSampling(options, generationConfig)
    const text = new StopText(stream(sampling.stop.length > 0), sampling.stop)
    let row: DecodeRow | undefined
    const pieces = async function* (session: Session): AsyncGenerator<Piece, void, undefined> {
      const state = await session.#enter()
      try {
        const signal = either(session.#end.signal, options?.signal)
        if (options?.stopOnAbort !== true) signal.throwIfAborted()
        const pending = session.#next()
        const seen = session.#seen.slice()
        if (pending !== undefined) markSeen(seen, pending)
        const seed = sampling.seed ?? session.#rng?.seed ?? (sampling.doSample ? randomSeed() : 0n)
        const counter = sampling.seed === undefined ? (session.#rng?.counter ?? 0n) : 0n
        row = new DecodeRow({ pending, logits: session.#logits, fed: session.#fed, seed, counter, seen }, text)
        try {
          yield* decode({
            ...session.#context,
            state,
            rows: [row],
            sampling,
            keeper: session.#memory,
            signal,
            stopOnAbort: options?.stopOnAbort,
          })
        } finally {
          session.#adopt(row, sampling.doSample)
        }
      } catch (error) {
        throw session.#explained(error)
      } finally {
        session.#busy = false
      }
    }
    return new Generation(pieces(this), () =>
      (row ?? new DecodeRow({ fed: this.tokens, seed: 0n, counter: 0n, seen: this.#seen }, text)).result(
        sampling.doSample && row !== undefined,
      ),
    )
  }

  #adopt(row: DecodeRow, sampled: boolean): void {
    if (row.tokens.length === 0) return
    this.#flush = false
    this.#fed = row.fed
    this.#pending = row.pending
    this.#logits = row.logits
    this.#seen = row.seen
    if (sampled || this.#rng !== undefined) this.#rng = { seed: row.seed, counter: row.counter }
  }

  /** The session as a file (`spec/state.md`): constant size, readable by any release and on any backend. */
  async save(): Promise<Uint8Array> {
    return this.#exclusive(async (state) => {
      if (this.#flush) await this.#known(state)
      const { runner, fingerprint } = this.#context
      const layers = await Promise.all(runner.model.state.map(({ name }) => runner.engine.read(state, name)))
      const parts = { fed: this.#fed, pending: this.#pending, rng: this.#rng, seen: this.#seen, logits: this.#logits }
      return writeSnapshot({ ...parts, layers }, runner.model, fingerprint())
    })
  }

  #restore(bytes: Uint8Array): void {
    const { runner, fingerprint } = this.#context
    const { fed, pending, rng, logits, seen, layers } = readSnapshot(bytes, runner.model, fingerprint())
    this.#fed = fed
    this.#pending = pending
    this.#rng = rng
    this.#logits = logits
    if (seen !== undefined) this.#seen.set(seen)
    this.#memory.load(layers)
  }

  /** A second session that goes on from here. It draws the same random numbers unless it is given its own seed. */
  fork(): Session {
    this.#alive()
    if (this.#busy) throw busy()
    const copy = new Session(this.#context)
    copy.#fed = this.#fed
    copy.#pending = this.#pending
    copy.#logits = this.#logits
    copy.#rng = this.#rng && { ...this.#rng }
    copy.#seen = this.#seen.slice()
    copy.#flush = this.#flush
    copy.#memory.copy(this.#memory)
    return copy
  }

  #alive(): void {
    if (this.#end.signal.aborted) throw this.#end.signal.reason
  }

  async #enter(): Promise<StateHandle> {
    this.#alive()
    if (this.#busy) throw busy()
    this.#busy = true
    try {
      const state = await this.#memory.open()
      this.#alive()
      return state
    } catch (error) {
      this.#busy = false
      throw this.#explained(error)
    }
  }

  async #exclusive<T>(body: (state: StateHandle) => Promise<T>): Promise<T> {
    const state = await this.#enter()
    try {
      return await body(state)
    } catch (error) {
      throw this.#explained(error)
    } finally {
      this.#busy = false
    }
  }

  /** What failed because the session was disposed meanwhile says so. */
  #explained(error: unknown): unknown {
    return this.#end.signal.aborted ? this.#end.signal.reason : error
  }

  /** Frees the state. A running call is aborted; later calls throw DisposedError. */
  async dispose(): Promise<void> {
    if (this.#end.signal.aborted) return
    this.#end.abort(new DisposedError("DISPOSED", "The session was disposed.", { fix: "Make a new one with model.session()." }))
    await this.#memory.release()
    this.#context.closed(this)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }
}

function busy(): SessionBusyError {
  return new SessionBusyError("SESSION_BUSY", "The session is still at work on an earlier call.", {
    fix: "Await that call, or finish its generation (drain it, `break`, or call return()); session.fork() works on its own.",
  })
}
