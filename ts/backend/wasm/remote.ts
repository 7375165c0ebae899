/** An engine in a Worker, with its helper threads in further ones. */
import type { EngineCrashedError } from "../../errors.ts"
import type {
  Answer,
  AsyncEncoder,
  Engine,
  EngineInfo,
  EngineOptions,
  FileStream,
  HeldCheckpoint,
  ProgramHandle,
  StateHandle,
  WeightsHandle,
  WeightsSource,
} from "../interface.ts"
import { copied, disposed, noPath } from "./direct.ts"
import { Link } from "./link.ts"
import { sharingMissing, unavailable } from "./module.ts"
import { type Port, workerFix } from "./ports.ts"
import type { Artefact } from "./shell.ts"
import { Credit, pieces } from "./streams.ts"
import type { Call, Peer, SentFile } from "./wire.ts"

/** Pieces of a file that are under way at once: one is read, one is copied, and neither waits for the other. */
const piecesAtOnce = 4

/** Memory that holds nothing else may be given away. */
function given(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer ? bytes : copied(bytes)
}

class Remote implements Engine {
  readonly #link: Link
  #info: EngineInfo
  #disposed: Promise<void> | undefined

  constructor(link: Link, info: EngineInfo) {
    this.#link = link
    this.#info = info
  }

  info(): EngineInfo {
    return this.#info
  }

  async #call(call: Call, transfer: ArrayBuffer[] = [], begun?: (id: number) => void): Promise<unknown> {
    if (this.#disposed) throw disposed()
    return this.#ask(call, transfer, begun)
  }

  async #ask(call: Call, transfer: ArrayBuffer[], begun?: (id: number) => void): Promise<unknown> {
    // The link holds on to this engine while it waits, so that nobody takes the engine for forgotten.
    const heard = (info: EngineInfo): void => {
      this.#info = info
    }
    return this.#link.ask(call, transfer, heard, begun)
  }

  async weights({ files, tensors }: WeightsSource): Promise<WeightsHandle> {
    const streams = new Map<number, FileStream>()
    const transfer: ArrayBuffer[] = []
    const sent = files.map((file): SentFile => {
      if (typeof file === "string") throw noPath(file)
      if (!(file instanceof Uint8Array)) {
        const stream = this.#link.nextStream()
        streams.set(stream, file)
        return { bytes: file.bytes, stream }
      }
      const copy = copied(file)
      transfer.push(copy.buffer)
      return copy
    })
    const pouring = new Pouring(this.#link, streams)
    try {
      return (await this.#call({ verb: "weights", files: sent, tensors }, transfer, () => pouring.start())) as WeightsHandle
    } catch (error) {
      throw pouring.failure ? pouring.failure.error : error
    } finally {
      pouring.stop()
    }
  }

  firstNonFinite(weights: WeightsHandle): Promise<string | null> {
    return this.#call({ verb: "firstNonFinite", args: [weights] }) as Promise<string | null>
  }

  load(plan: string, weights: WeightsHandle | null): Promise<ProgramHandle> {
    return this.#call({ verb: "load", args: [plan, weights] }) as Promise<ProgramHandle>
  }

  state(program: ProgramHandle): Promise<StateHandle> {
    return this.#call({ verb: "state", args: [program] }) as Promise<StateHandle>
  }

  async run(program: ProgramHandle, state: StateHandle | null, options: Parameters<Engine["run"]>[2] = {}): Promise<void> {
    const { steps = 1, signal } = options
    signal?.throwIfAborted()
    // Seen by the engine in the middle of its work; a message is heard only when it rests.
    const flag = signal && !sharingMissing() ? new Int32Array(new SharedArrayBuffer(4)) : undefined
    let run = -1
    const abort = (): void => {
      if (flag) Atomics.store(flag, 0, 1)
      else this.#link.post({ abort: run })
    }
    signal?.addEventListener("abort", abort, { once: true })
    try {
      const begun = (id: number): void => {
        run = id
      }
      if (!(await this.#call({ verb: "run", program, state, steps, flag }, [], begun))) throw signal?.reason
    } finally {
      signal?.removeEventListener("abort", abort)
    }
  }

  async copyState(to: StateHandle, from: StateHandle): Promise<void> {
    await this.#call({ verb: "copyState", args: [to, from] })
  }

  read(target: ProgramHandle | StateHandle, name: string): Promise<Uint8Array> {
    return this.#call({ verb: "read", args: [target, name] }) as Promise<Uint8Array>
  }

  async write(target: ProgramHandle | StateHandle, name: string, bytes: Uint8Array): Promise<void> {
    const copy = copied(bytes)
    await this.#call({ verb: "write", args: [target, name, copy] }, [copy.buffer])
  }

  release(handle: WeightsHandle | ProgramHandle | StateHandle): void {
    this.#call({ verb: "release", args: [handle] }).catch(() => {})
  }

  async tokenizer(json: object, config: object): Promise<AsyncEncoder> {
    const tokenizer = (await this.#call({ verb: "tokenizer", json, config })) as number
    return { encode: (text) => this.#call({ verb: "encode", tokenizer, text }) as Promise<Int32Array> }
  }

  async hold(request: object, answer: Answer, signal: AbortSignal): Promise<HeldCheckpoint> {
    signal.throwIfAborted()
    let reading = -1
    const abort = (): void => this.#link.post({ abort: reading })
    const close = (): void => {
      signal.removeEventListener("abort", abort)
      this.#link.onAsk(reading, undefined)
    }
    const call = async (call: Call, begun?: (id: number) => void): Promise<unknown> => {
      try {
        return await this.#call(call, [], begun)
      } catch (error) {
        close()
        signal.throwIfAborted()
        throw error
      }
    }
    const found = await call({ verb: "hold", request }, (id) => {
      reading = id
      signal.addEventListener("abort", abort)
      this.#link.onAsk(reading, answer)
    })
    return {
      found,
      encoder: { encode: (text) => this.#call({ verb: "encodeFor", reading, text }) as Promise<Int32Array> },
      weights: (tensors) => call({ verb: "bring", reading, tensors }) as ReturnType<HeldCheckpoint["weights"]>,
      close,
    }
  }

  dispose(): Promise<void> {
    this.#disposed ??= this.#end()
    return this.#disposed
  }

  async #end(): Promise<void> {
    try {
      await this.#ask({ verb: "dispose", args: [] }, [])
    } catch (error) {
      // What has crashed has nothing left to free.
      if ((error as EngineCrashedError).code !== "ENGINE_CRASHED") throw error
      this.#info = { ...this.#info, bytes: { weights: 0, temp: 0, state: 0, io: 0, scratch: 0 } }
    }
    await this.#link.close()
  }
}

/** Sends the streams of a checkpoint, one after the other, as fast as the Worker takes them. */
class Pouring {
  readonly #link: Link
  readonly #streams: ReadonlyMap<number, FileStream>
  readonly #credit = new Credit(piecesAtOnce)
  #stopped = false
  /** What a stream failed with. */
  failure: { error: unknown } | undefined

  constructor(link: Link, streams: ReadonlyMap<number, FileStream>) {
    this.#link = link
    this.#streams = streams
  }

  start(): void {
    for (const stream of this.#streams.keys()) this.#link.onTaken(stream, () => this.#credit.give())
    this.#pour().catch((error: unknown) => {
      this.failure = { error }
      for (const stream of this.#streams.keys()) this.#link.post({ stream, piece: "failure" })
    })
  }

  async #pour(): Promise<void> {
    for (const [stream, file] of this.#streams) {
      for await (const piece of pieces(file)) {
        await this.#credit.take()
        if (this.#stopped) return
        const bytes = file.lent ? copied(piece) : given(piece)
        this.#link.post({ stream, piece: bytes }, [bytes.buffer as ArrayBuffer])
      }
      this.#link.post({ stream, piece: "end" })
    }
  }

  stop(): void {
    this.#stopped = true
    this.#credit.give()
    for (const stream of this.#streams.keys()) this.#link.onTaken(stream, undefined)
  }
}

/** Ends the Workers of engines that nobody refers to any more. */
const forgotten = new FinalizationRegistry<Link>((link) => void link.close())

/** Opens an engine in Workers that `start` starts. */
export async function openRemote(artefact: Artefact, options: EngineOptions, threads: number, start: () => Port): Promise<Engine> {
  const link = new Link(start())
  try {
    const channels = Array.from({ length: artefact.threads ? Math.max(0, threads - 1) : 0 }, () => new MessageChannel())
    const ends = (name: "port1" | "port2"): Peer[] => channels.map((channel) => channel[name] as unknown as Peer)
    const opening = link.open({ open: artefact, options: JSON.stringify({ ...options, threads }), helpers: ends("port1") })
    const helping = ends("port2").map((from, i) => link.help(start(), { help: artefact, part: i + 1, from }))
    const [info] = await Promise.all([opening, ...helping])
    const engine = new Remote(link, info)
    forgotten.register(engine, link)
    return engine
  } catch (error) {
    await link.close()
    if ((error as EngineCrashedError)?.code !== "ENGINE_CRASHED") throw error
    throw unavailable(`its Worker could not be started (${(error as Error).message})`, workerFix, error)
  }
}
