/** Weight files on their way to an engine: as each backend takes them, and what the fingerprint will ask of them. */
import type { FileStream, TensorSource } from "../backend/interface.ts"
import { gathered } from "./bytes.ts"
import { Edges } from "./edges.ts"
import type { CheckpointFile } from "./types.ts"

type Taken = string | Uint8Array | FileStream

/** A 32-bit WebAssembly allocates less than 2 GiB at once, and each file is one allocation. */
const mostBytes = 2 ** 30

/** Where a file is cut so that its parts have at most `most` bytes, as far as its tensors allow: a tensor stays in one part. */
function cuts(bytes: number, tensors: readonly TensorSource[], most: number): number[] {
  const at = [0]
  for (const tensor of [...tensors].sort((a, b) => a.offset - b.offset)) {
    const start = at.at(-1) as number
    if (tensor.offset > start && tensor.offset + tensor.bytes - start > most) at.push(tensor.offset)
  }
  return [...at, bytes]
}

/** One stream, handed out as several that are read one after the other. */
class Parts {
  readonly #open: () => AsyncIterable<Uint8Array>
  #rest: AsyncIterator<Uint8Array> | undefined
  #held: Uint8Array = new Uint8Array()

  constructor(open: () => AsyncIterable<Uint8Array>) {
    this.#open = open
  }

  /** The next `bytes` bytes, or those that are left. */
  async *take(bytes: number): AsyncGenerator<Uint8Array> {
    this.#rest ??= this.#open()[Symbol.asyncIterator]()
    for (let missing = bytes; missing > 0; ) {
      if (this.#held.length === 0) this.#held = (await this.#rest.next()).value ?? this.#held
      if (this.#held.length === 0) return
      const piece = this.#held.length > missing ? this.#held.subarray(0, missing) : this.#held
      this.#held = this.#held.subarray(piece.length)
      missing -= piece.length
      yield piece
    }
  }

  async close(): Promise<void> {
    await this.#rest?.return?.()
  }
}

export interface HandedOver {
  files: Taken[]
  /** The same tensors, where they lie in these files. */
  tensors: TensorSource[]
  /** Bytes of a weight file of the checkpoint, of those that the fingerprint asks for. */
  read: (file: number, offset: number, length: number) => Uint8Array
  /** Lets go of what was not read to its end. */
  close(): Promise<void>
}

/**
 * The native engine maps paths and borrows bytes; what only streams is read whole for it. WebAssembly takes streams, and bytes as they are, in
 * parts of at most `most` bytes.
 */
export async function handOver(
  files: readonly CheckpointFile[],
  tensors: readonly TensorSource[],
  backend: string,
  most: number = mostBytes,
): Promise<HandedOver> {
  const readers: ((offset: number, length: number) => Uint8Array)[] = []
  const sources: Parts[] = []
  const taken: Taken[] = []
  const placed: TensorSource[] = []
  for (const [number, file] of files.entries()) {
    const own = tensors.filter((tensor) => tensor.file === number)
    const edges = new Edges(file.readNow === undefined ? own : [])
    readers.push(file.readNow ?? ((offset, length) => edges.read(offset, length)))
    const open = (): AsyncIterable<Uint8Array> => edges.through(file.open())
    const bytes = file.bytes as number
    const at = backend === "wasm" ? cuts(bytes, own, most) : [0, bytes]
    for (const tensor of own) {
      const part = at.filter((start) => start <= tensor.offset && start < bytes).length - 1
      placed.push({ ...tensor, file: taken.length + part, offset: tensor.offset - (at[part] as number) })
    }
    const { data, path, lent } = file
    if (backend !== "wasm") taken.push(path ?? data ?? (await gathered(open())))
    else if (data !== undefined) taken.push(...at.slice(1).map((end, i) => data.subarray(at[i], end)))
    else {
      const source = new Parts(open)
      sources.push(source)
      for (const [i, end] of at.slice(1).entries()) {
        const length = end - (at[i] as number)
        // The last one is read to the end of its source, which may have something to say about the whole.
        taken.push({ bytes: length, lent, open: () => source.take(end === bytes ? Number.POSITIVE_INFINITY : length) })
      }
    }
  }
  return {
    files: taken,
    tensors: placed,
    read: (file, offset, length) => (readers[file] as (typeof readers)[0])(offset, length),
    close: async () => void (await Promise.all(sources.map((source) => source.close()))),
  }
}
