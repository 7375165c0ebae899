/** The ends of tensors: what a snapshot knows its model by, of weights that stream by once. */
import type { TensorSource } from "../backend/interface.ts"
import { joined } from "./bytes.ts"

/** Bytes of each end of a tensor that are looked at: cheap for a file of gigabytes, and enough to tell two trainings of one shape apart. */
const edge = 4096

/** Both ends of a tensor: [offset in the file, length]. */
export function ends({ offset, bytes }: TensorSource): [number, number][] {
  const length = Math.min(edge, bytes)
  return [
    [offset, length],
    [offset + bytes - length, length],
  ]
}

/** In order of offsets; those of small tensors fall together. */
function places(tensors: readonly TensorSource[]): [number, number][] {
  const all = new Map(tensors.flatMap(ends).map(([offset, length]) => [`${offset} ${length}`, [offset, length] as [number, number]]))
  return [...all.values()].sort(([a, m], [b, n]) => a - b || m - n)
}

/** The ends of a file's tensors one after the other, to be taken up by `Edges` elsewhere. */
export function packEdges(tensors: readonly TensorSource[], read: (offset: number, length: number) => Uint8Array): Uint8Array {
  return joined([new Uint8Array(), ...places(tensors).map(([offset, length]) => read(offset, length))], Uint8Array)
}

/** Keeps the ends of a file's tensors: those that were packed, or of what goes `through`. */
export class Edges {
  readonly #kept: { offset: number; bytes: Uint8Array }[]

  constructor(tensors: readonly TensorSource[], packed?: Uint8Array) {
    let at = 0
    this.#kept = places(tensors).map(([offset, length]) => {
      at += length
      return { offset, bytes: packed?.subarray(at - length, at) ?? new Uint8Array(length) }
    })
  }

  async *through(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    let at = 0
    for await (const piece of pieces) {
      for (const { offset, bytes } of this.#kept) {
        const from = Math.max(offset, at)
        const to = Math.min(offset + bytes.length, at + piece.length)
        if (from < to) bytes.set(piece.subarray(from - at, to - at), from - offset)
      }
      at += piece.length
      yield piece
    }
  }

  read(offset: number, length: number): Uint8Array {
    return this.#kept.find((kept) => kept.offset === offset && kept.bytes.length === length)?.bytes as Uint8Array
  }
}
