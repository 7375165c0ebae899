/** The inside of a Worker: an engine and its tokenizers, or one of another engine's helper threads. `remote.ts` is the outside. */
import type { FileStream, ProgramHandle, StateHandle } from "../interface.ts"
import { Direct, whole } from "./direct.ts"
import { type Read, Readings } from "./readings.ts"
import type { Instantiate } from "./shell.ts"
import { Mailbox } from "./streams.ts"
import { type Call, type FromWorker, type Pool, packError, type SentFile, type ToWorker } from "./wire.ts"

/** The Worker's own end of the line to the page. */
export interface Line {
  post(message: FromWorker, transfer: ArrayBuffer[]): void
  listen(hear: (message: ToWorker) => void): void
}

/** What the Worker is made of besides this file. */
export interface Parts {
  instantiate: Instantiate
  /** Ids of a text by the rules of a parsed `tokenizer.json`. */
  tokenizer(json: object, config: object): { encode(text: string): ArrayLike<number> }
  /** Reads a checkpoint for the page. */
  read: Read
}

/** Calls that change nothing which an engine tells of itself. */
const silent: ReadonlySet<Call["verb"]> = new Set(["read", "write", "encode", "encodeFor", "hold"])

class Host {
  readonly #line: Line
  readonly #engine: Direct
  readonly #parts: Parts
  readonly #readings: Readings
  readonly #tokenizers: ReturnType<Parts["tokenizer"]>[] = []
  readonly #streams = new Map<number, Mailbox>()
  /** Runs under way, and whether a message said that they are to end. */
  readonly #runs = new Map<number, boolean>()

  constructor(line: Line, engine: Direct, parts: Parts) {
    this.#line = line
    this.#engine = engine
    this.#parts = parts
    this.#readings = new Readings((message, transfer) => line.post(message, transfer), parts.read)
  }

  hear(message: ToWorker): void {
    if ("call" in message) void this.#answer(message.id, message.call)
    else if ("abort" in message) this.#abort(message.abort)
    else if ("answers" in message) this.#readings.answer(message.answers, message.value)
    else if ("stream" in message) this.#streams.get(message.stream)?.deliver(message.piece)
  }

  #abort(id: number): void {
    this.#readings.abort(id)
    // A run may have ended while the message was under way.
    if (this.#runs.has(id)) this.#runs.set(id, true)
  }

  async #answer(id: number, call: Call): Promise<void> {
    const info = () => (silent.has(call.verb) ? undefined : this.#engine.info())
    try {
      if (call.verb === "hold") {
        const { found, transfer } = await this.#readings.open(id, call.request)
        return this.#line.post({ id, value: found, info: undefined }, transfer)
      }
      const value = await this.#do(id, call)
      const own = value instanceof Uint8Array || value instanceof Int32Array ? [value.buffer as ArrayBuffer] : []
      this.#line.post({ id, value, info: info() }, own)
    } catch (error) {
      this.#line.post({ id, error: packError(error), info: info() }, [])
    }
  }

  async #do(id: number, call: Exclude<Call, { verb: "hold" }>): Promise<unknown> {
    const engine = this.#engine
    switch (call.verb) {
      case "weights":
        return this.#weights(call.files, call)
      case "run": {
        const { program, state, steps, flag } = call
        const aborted = (): boolean => (flag ? Atomics.load(flag, 0) !== 0 : this.#runs.get(id) === true)
        this.#runs.set(id, false)
        try {
          return await engine.drive(program as ProgramHandle, state as StateHandle | null, steps, aborted)
        } finally {
          this.#runs.delete(id)
        }
      }
      case "bring":
        return this.#readings.bring(call.reading, call.tensors, engine)
      case "encodeFor":
        return Int32Array.from(this.#readings.encode(call.reading, call.text))
      case "tokenizer":
        return this.#tokenizers.push(this.#parts.tokenizer(call.json, call.config)) - 1
      case "encode":
        return Int32Array.from((this.#tokenizers[call.tokenizer] as ReturnType<Parts["tokenizer"]>).encode(call.text))
      default:
        return (engine[call.verb] as (...args: unknown[]) => unknown).apply(engine, [...call.args])
    }
  }

  async #weights(files: readonly SentFile[], { tensors }: Extract<Call, { verb: "weights" }>): Promise<unknown> {
    const streams: number[] = []
    const openable = files.map((file): FileStream => {
      // Nobody else has these bytes: they need no copy.
      if (file instanceof Uint8Array) return whole(file)
      const mailbox = new Mailbox(() => this.#line.post({ taken: file.stream }, []))
      this.#streams.set(file.stream, mailbox)
      streams.push(file.stream)
      return { bytes: file.bytes, open: () => mailbox.open() }
    })
    try {
      return await this.#engine.weights({ files: openable, tensors })
    } finally {
      for (const stream of streams) this.#streams.delete(stream)
    }
  }
}

async function help(line: Line, { instantiate }: Parts, message: Extract<ToWorker, { help: object }>): Promise<void> {
  const { memory, pool } = await new Promise<Pool>((resolve) => {
    message.from.onmessage = ({ data }) => resolve(data)
  })
  message.from.close()
  const { workThread } = await instantiate(message.help, memory)
  line.post({ helps: message.part }, [])
  workThread?.(pool, message.part)
}

async function open(line: Line, parts: Parts, message: Extract<ToWorker, { open: object }>): Promise<Host> {
  const shell = await parts.instantiate(message.open)
  const engine = new Direct(shell, JSON.parse(message.options))
  for (const helper of message.helpers) helper.postMessage({ memory: shell.memory, pool: engine.pool })
  line.post({ opened: engine.info() }, [])
  return new Host(line, engine, parts)
}

/** Makes of a Worker what its first message says. */
export function serve(line: Line, parts: Parts): void {
  let host: Host | undefined
  line.listen((message) => {
    if (host) return host.hear(message)
    const refuse = (error: unknown): void => line.post({ refused: packError(error) }, [])
    if ("help" in message) help(line, parts, message).catch(refuse)
    else if ("open" in message) {
      open(line, parts, message).then((opened) => {
        host = opened
      }, refuse)
    }
  })
}
