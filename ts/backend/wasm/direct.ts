/** An engine in this thread. Its calls wait in a queue, and long ones give way to the event loop. */
import { DisposedError, EngineCrashedError } from "../../errors.ts"
import type {
  Engine,
  EngineInfo,
  EngineOptions,
  FileStream,
  ProgramHandle,
  StateHandle,
  WeightsHandle,
  WeightsSource,
} from "../interface.ts"
import { refusalOf, translate } from "../refusals.ts"
import { Pace } from "../turn.ts"
import type { Shell, WasmEngine } from "./shell.ts"
import { pieces } from "./streams.ts"

declare const WebAssembly: { RuntimeError: new () => Error }

const what = "the WebAssembly module"
/** Bytes that are handed over at once: each piece goes through memory of the module, which never gets smaller again. */
const largestPiece = 4 * 2 ** 20
const nothing: EngineInfo["bytes"] = { weights: 0, temp: 0, state: 0, io: 0, scratch: 0 }

export function disposed(): DisposedError {
  return new DisposedError("DISPOSED", "The engine was disposed.", { fix: "Open another." })
}

export function crashed(reason: string, cause?: unknown): EngineCrashedError {
  return new EngineCrashedError("ENGINE_CRASHED", `The engine has crashed: ${reason}.`, {
    fix: "Open another engine and load everything again.",
    cause,
  })
}

/** Not `slice`, which Node's Buffer has made a view. */
export function copied(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes)
}

/** A file whose bytes are all there, and nobody else's. */
export function whole(bytes: Uint8Array): FileStream {
  return {
    bytes: bytes.length,
    async *open() {
      yield bytes
    },
  }
}

export function noPath(file: string): Error {
  return translate(new TypeError(`it reads no paths, such as ${file}`), what)
}

function streamOf(file: WeightsSource["files"][number]): FileStream {
  if (typeof file === "string") throw noPath(file)
  if (!(file instanceof Uint8Array)) return file
  return whole(copied(file))
}

export class Direct implements Engine {
  #wasm: WasmEngine
  #info: EngineInfo
  #queue: Promise<unknown> = Promise.resolve()
  #waiting = 0
  #crash: EngineCrashedError | undefined
  #disposed: Promise<void> | undefined
  readonly #pace = new Pace()

  /** @throws OptionError for options that the module refuses */
  constructor(shell: Shell, options: EngineOptions) {
    try {
      this.#wasm = new shell.WasmEngine(JSON.stringify(options))
    } catch (error) {
      throw translate(error, what)
    }
    this.#info = JSON.parse(this.#wasm.info()) as EngineInfo
  }

  /** For the helper threads, see `WasmEngine.pool`. */
  get pool(): number {
    return this.#wasm.pool()
  }

  info(): EngineInfo {
    if (this.#disposed === undefined && this.#crash === undefined) this.#info = JSON.parse(this.#wasm.info()) as EngineInfo
    return this.#info
  }

  /** Calls the module. What traps in it cannot be trusted with another call. */
  #call<T>(make: (wasm: WasmEngine) => T): T {
    if (this.#crash) throw this.#crash
    try {
      return make(this.#wasm)
    } catch (error) {
      const trap = error instanceof WebAssembly.RuntimeError || error instanceof RangeError
      if (!trap || refusalOf(error)) throw translate(error, what)
      this.#crash = crashed(error.message, error)
      throw this.#crash
    }
  }

  #enqueue<T>(body: () => T | Promise<T>): Promise<T> {
    if (this.#disposed) return Promise.reject(disposed())
    return this.#append(body)
  }

  #append<T>(body: () => T | Promise<T>): Promise<T> {
    // A call into an idle engine comes straight from the event loop.
    if (this.#waiting++ === 0) this.#pace.begin()
    const result = this.#queue.then(async () => {
      if (this.#pace.due) await this.#pace.rest()
      return body()
    })
    const done = (): void => {
      this.#waiting--
    }
    this.#queue = result.then(done, done)
    return result
  }

  async weights({ files, tensors }: WeightsSource): Promise<WeightsHandle> {
    const streams = files.map(streamOf)
    return this.#enqueue(async () => {
      const source = JSON.stringify({ files: streams.map(({ bytes }) => bytes), tensors })
      const weights = this.#call((wasm) => wasm.reserve(source)) as WeightsHandle
      try {
        for (const [file, stream] of streams.entries()) await this.#fill(weights, file, stream)
        this.#call((wasm) => wasm.seal(weights))
        return weights
      } catch (error) {
        if (!this.#crash) this.#call((wasm) => wasm.release(weights))
        throw error
      }
    })
  }

  async #fill(weights: WeightsHandle, file: number, stream: FileStream): Promise<void> {
    let offset = 0
    for await (const piece of pieces(stream)) {
      for (let at = 0; at < piece.length; at += largestPiece) {
        const part = piece.subarray(at, at + largestPiece)
        this.#call((wasm) => wasm.fill(weights, file, offset, part))
        offset += part.length
        if (this.#pace.due) await this.#pace.rest()
      }
    }
  }

  firstNonFinite(weights: WeightsHandle): Promise<string | null> {
    return this.#enqueue(() => this.#call((wasm) => wasm.firstNonFinite(weights)) ?? null)
  }

  load(plan: string, weights: WeightsHandle | null): Promise<ProgramHandle> {
    return this.#enqueue(() => this.#call((wasm) => wasm.load(plan, weights ?? undefined)) as ProgramHandle)
  }

  state(program: ProgramHandle): Promise<StateHandle> {
    return this.#enqueue(() => this.#call((wasm) => wasm.state(program)) as StateHandle)
  }

  async run(program: ProgramHandle, state: StateHandle | null, options: Parameters<Engine["run"]>[2] = {}): Promise<void> {
    const { steps = 1, signal } = options
    signal?.throwIfAborted()
    if (!(await this.drive(program, state, steps, () => signal?.aborted === true))) throw signal?.reason
  }

  /** `run` for a caller without a signal: asks whether to go on between pieces, and resolves to whether it went to the end. */
  drive(program: ProgramHandle, state: StateHandle | null, steps: number, aborted: () => boolean): Promise<boolean> {
    return this.#enqueue(async () => {
      if (aborted()) return false
      this.#call((wasm) => wasm.start(program, state ?? undefined, steps))
      while (!this.#call((wasm) => wasm.advance())) {
        if (this.#pace.due) await this.#pace.rest()
        if (!aborted()) continue
        this.#call((wasm) => wasm.cancel())
        return false
      }
      return true
    })
  }

  copyState(to: StateHandle, from: StateHandle): Promise<void> {
    return this.#enqueue(() => this.#call((wasm) => wasm.copyState(to, from)))
  }

  read(target: ProgramHandle | StateHandle, name: string): Promise<Uint8Array> {
    return this.#enqueue(() => this.#call((wasm) => wasm.read(target, name)))
  }

  write(target: ProgramHandle | StateHandle, name: string, bytes: Uint8Array): Promise<void> {
    const copy = copied(bytes)
    return this.#enqueue(() => this.#call((wasm) => wasm.write(target, name, copy)))
  }

  /** Resolves when it is done. A handle that is not there needs no release. */
  async release(handle: WeightsHandle | ProgramHandle | StateHandle): Promise<void> {
    await this.#enqueue(() => this.#call((wasm) => wasm.release(handle))).catch(() => {})
  }

  dispose(): Promise<void> {
    this.#disposed ??= this.#append(() => {
      this.#info = { ...this.#info, bytes: nothing }
      if (!this.#crash) this.#wasm.free()
    })
    return this.#disposed
  }
}
