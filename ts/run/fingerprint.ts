/** What a snapshot knows its model by. */
import type { TensorSource } from "../backend/interface.ts"
import { ends } from "../io/edges.ts"
import { Sha256 } from "../io/sha256.ts"
import type { LanguageModel } from "../models/family.ts"

/** JSON with sorted keys and no spaces. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
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
