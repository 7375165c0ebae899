/** What a snapshot knows its model by. */
import type { TensorSource } from "../backend/interface.ts"
import { Sha256 } from "../io/sha256.ts"
import type { LanguageModel } from "../models/family.ts"

/** Bytes of each end of a tensor that are looked at: cheap for a file of gigabytes, and enough to tell two trainings of one shape apart. */
const edge = 4096

/** JSON with sorted keys and no spaces. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
}

/** Both ends of a tensor: [offset in the file, length]. */
function ends({ offset, bytes }: TensorSource): [number, number][] {
  const length = Math.min(edge, bytes)
  return [
    [offset, length],
    [offset + bytes - length, length],
  ]
}

/** Keeps, of a file that streams by once, what the fingerprint will ask for. */
export class Edges {
  /** In order of offsets; those of small tensors fall together. */
  readonly #kept: { offset: number; bytes: Uint8Array }[]

  constructor(tensors: readonly TensorSource[]) {
    const all = new Map(tensors.flatMap(ends).map(([offset, length]) => [`${offset} ${length}`, { offset, bytes: new Uint8Array(length) }]))
    this.#kept = [...all.values()].sort((a, b) => a.offset - b.offset)
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

/**
 * Lowercase hex SHA-256 over the config fields that change the computation, then name, shape, dtype and both ends of every weight in order
 * of names; see `spec/state.md`. `read` gives bytes of a weight file.
 */
export function modelFingerprint(
  model: LanguageModel,
  tensors: readonly TensorSource[],
  read: (file: number, offset: number, length: number) => Uint8Array,
): string {
  const hash = new Sha256().update(canonicalJson(model.fingerprint))
  for (const tensor of [...tensors].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    hash.update(canonicalJson([tensor.name, tensor.shape, tensor.dtype]))
    for (const [offset, length] of ends(tensor)) hash.update(read(tensor.file, offset, length))
  }
  return hash.hex()
}
