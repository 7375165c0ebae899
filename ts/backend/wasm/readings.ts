/** The checkpoints that a Worker reads for its page, by the numbers of the calls that opened them. */
import type { Asker, Reading, TensorSource, WeightsHandle } from "../interface.ts"
import { type Direct, whole } from "./direct.ts"
import type { FromWorker } from "./wire.ts"

export type Read = (request: object, page: Asker, signal: AbortSignal) => Promise<Reading>

export class Readings {
  readonly #post: (message: FromWorker, transfer: ArrayBuffer[]) => void
  readonly #read: Read
  readonly #stops = new Map<number, AbortController>()
  readonly #open = new Map<number, Reading>()
  readonly #asked = new Map<number, (value: unknown) => void>()
  #count = 0

  constructor(post: (message: FromWorker, transfer: ArrayBuffer[]) => void, read: Read) {
    this.#post = post
    this.#read = read
  }

  async open(id: number, request: object): Promise<Reading> {
    const tell = (asks: number | undefined, verb: string, args: readonly unknown[], transfer: ArrayBuffer[] = []): void =>
      this.#post({ of: id, asks, verb, args }, transfer)
    const page: Asker = {
      tell: (...words) => tell(undefined, ...words),
      ask: (...words) =>
        new Promise((resolve) => {
          this.#asked.set(this.#count, resolve)
          tell(this.#count++, ...words)
        }),
    }
    const stop = new AbortController()
    this.#stops.set(id, stop)
    const reading = await this.#read(request, page, stop.signal)
    this.#open.set(id, reading)
    return reading
  }

  async bring(id: number, tensors: readonly TensorSource[], engine: Direct): Promise<{ weights: WeightsHandle; edges: Uint8Array[] }> {
    const { edges, close, files, tensors: placed } = await (this.#open.get(id) as Reading).handOver(tensors)
    // Bytes that came with the request are nobody else's: they need no copy.
    const own = files.map((file) => (file instanceof Uint8Array ? whole(file) : file))
    const weights = await engine.weights({ files: own, tensors: placed }).finally(close)
    return { weights, edges: edges() }
  }

  encode(id: number, text: string): ArrayLike<number> {
    return (this.#open.get(id) as Reading).encode(text)
  }

  abort(id: number): void {
    this.#stops.get(id)?.abort()
  }

  answer(asks: number, value: unknown): void {
    this.#asked.get(asks)?.(value)
    this.#asked.delete(asks)
  }
}
