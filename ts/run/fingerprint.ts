/** What a snapshot knows its model by. */
import { createHash } from "node:crypto"
import { closeSync, openSync, readSync } from "node:fs"
import type { WeightsSource } from "../backend/interface.ts"
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

/**
 * Lowercase hex SHA-256 over the config fields that change the computation, then name, shape, dtype and both ends of every weight that the
 * model uses, in order of names; see `spec/state.md`.
 */
export function modelFingerprint(model: LanguageModel, source: WeightsSource): string {
  const hash = createHash("sha256").update(canonicalJson(model.fingerprint))
  const open = new Map<number, number>()
  const read = (file: number, offset: number, length: number): Uint8Array => {
    const from = source.files[file]
    if (from instanceof Uint8Array) return from.subarray(offset, offset + length)
    const descriptor = open.get(file) ?? openSync(from as string, "r")
    open.set(file, descriptor)
    const bytes = new Uint8Array(length)
    return bytes.subarray(0, readSync(descriptor, bytes, 0, length, offset))
  }
  try {
    for (const tensor of [...source.tensors].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const length = Math.min(edge, tensor.bytes)
      hash.update(canonicalJson([tensor.name, tensor.shape, tensor.dtype]))
      hash.update(read(tensor.file, tensor.offset, length))
      hash.update(read(tensor.file, tensor.offset + tensor.bytes - length, length))
    }
  } finally {
    for (const descriptor of open.values()) closeSync(descriptor)
  }
  return hash.digest("hex")
}
