/** The line between an engine's outside and its Workers: who asked what, and what becomes of it when one of them dies. */
import type { Answer, EngineInfo } from "../interface.ts"
import { crashed, disposed } from "./direct.ts"
import type { Port } from "./ports.ts"
import { type Call, type FromWorker, type ToWorker, unpackError } from "./wire.ts"

interface Pending {
  resolve(value: unknown): void
  reject(error: unknown): void
  heard(info: EngineInfo): void
}

export class Link {
  readonly #port: Port
  readonly #helpers: Port[] = []
  readonly #pending = new Map<number, Pending>()
  readonly #taken = new Map<number, () => void>()
  readonly #answers = new Map<number, Answer>()
  /** What waits for the first message of a Worker. */
  readonly #starting = new Map<Port, Omit<Pending, "heard">>()
  #count = 0
  #end: Error | undefined

  constructor(port: Port) {
    this.#port = port
    this.#listen(port)
  }

  #listen(port: Port): void {
    port.listen(
      (message) => this.#hear(port, message),
      (reason, cause) => this.#die(crashed(reason, cause)),
    )
  }

  async #first(port: Port, message: ToWorker, transfer: object[]): Promise<FromWorker> {
    if (this.#end) throw this.#end
    port.hold(true)
    port.post(message, transfer)
    try {
      return (await new Promise<unknown>((resolve, reject) => this.#starting.set(port, { resolve, reject }))) as FromWorker
    } finally {
      this.#starting.delete(port)
      port.hold(false)
    }
  }

  /** Opens the engine; what it refuses rejects. */
  async open(message: Extract<ToWorker, { open: object }>): Promise<EngineInfo> {
    return ((await this.#first(this.#port, message, message.helpers)) as Extract<FromWorker, { opened: object }>).opened
  }

  /** Makes another Worker a helper thread of the engine; they live and die together. */
  async help(port: Port, message: Extract<ToWorker, { help: object }>): Promise<void> {
    this.#helpers.push(port)
    this.#listen(port)
    await this.#first(port, message, [message.from])
  }

  nextStream(): number {
    return this.#count++
  }

  /** Calls `give` whenever a piece of the stream has reached its place. */
  onTaken(stream: number, give: (() => void) | undefined): void {
    if (give) this.#taken.set(stream, give)
    else this.#taken.delete(stream)
  }

  /** Answers what the Worker asks on behalf of a call. */
  onAsk(call: number, answer: Answer | undefined): void {
    if (answer) this.#answers.set(call, answer)
    else this.#answers.delete(call)
  }

  async #answer({ of, asks, verb, args }: Extract<FromWorker, { of: number }>): Promise<void> {
    const value = await this.#answers.get(of)?.(verb, args)
    if (asks !== undefined) this.post({ answers: asks, value })
  }

  post(message: ToWorker, transfer: object[] = []): void {
    if (!this.#end) this.#port.post(message, transfer)
  }

  /** Makes a call. `begun` learns its number when it is on its way. */
  ask(call: Call, transfer: object[], heard: Pending["heard"], begun?: (id: number) => void): Promise<unknown> {
    if (this.#end) return Promise.reject(this.#end)
    const id = this.#count++
    return new Promise((resolve, reject) => {
      this.#port.post({ id, call }, transfer)
      if (this.#pending.size === 0) this.#port.hold(true)
      this.#pending.set(id, { resolve, reject, heard })
      begun?.(id)
    })
  }

  #hear(port: Port, message: FromWorker): void {
    if ("taken" in message) this.#taken.get(message.taken)?.()
    else if ("of" in message) void this.#answer(message)
    else if ("refused" in message) this.#refuse(port, unpackError(message.refused))
    else if ("id" in message) this.#settle(message)
    else this.#starting.get(port)?.resolve(message)
  }

  #refuse(port: Port, error: Error): void {
    const starting = this.#starting.get(port)
    if (starting) starting.reject(error)
    // A helper thread that fails leaves the engine waiting for it.
    else this.#die(crashed(error.message, error))
  }

  #settle(message: Extract<FromWorker, { id: number }>): void {
    const pending = this.#pending.get(message.id)
    this.#pending.delete(message.id)
    if (this.#pending.size === 0) this.#port.hold(false)
    if (message.info) pending?.heard(message.info)
    if ("error" in message) {
      const error = unpackError(message.error)
      pending?.reject(error)
      if (message.error.type === "EngineCrashedError") this.#die(error)
    } else pending?.resolve(message.value)
  }

  #die(error: Error): void {
    if (this.#end) return
    this.#end = error
    for (const { reject } of this.#pending.values()) reject(error)
    for (const { reject } of this.#starting.values()) reject(error)
    this.#pending.clear()
    void this.#terminate()
  }

  async #terminate(): Promise<void> {
    await Promise.all([this.#port, ...this.#helpers].map((port) => port.terminate()))
  }

  /** Ends all Workers. */
  async close(): Promise<void> {
    this.#die(disposed())
    await this.#terminate()
  }
}
