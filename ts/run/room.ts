/** What fits a 32-bit WebAssembly, known from the headers of the weight files, before the weights themselves are brought. */
import { MemoryLimitError } from "../errors.ts"
import type { CheckpointFile } from "../io/types.ts"
import type { LanguageModel, TensorTable } from "../models/family.ts"
import type { Plan } from "../plan/types.ts"
import { buildProgram } from "./programs.ts"
import { chunkLength, memoryOf } from "./runner.ts"

/** All that 32 bits can address. */
const addressable = 2 ** 32
/** The module's own: code tables, stacks, plans, what the allocator loses. */
const own = 2 ** 26

/** Weights that a plan wants in another form than they are stored in are made beside them. */
function derivedBytes({ weights }: Plan): number {
  const made = weights.filter(({ as }) => as !== "stored")
  return made.reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0)
}

/**
 * Bytes that programs and states may take beside the weights, at most `limit`.
 * @throws MemoryLimitError when the weights and one conversation do not fit
 */
export function programRoom(
  model: LanguageModel,
  tensors: TensorTable,
  files: readonly CheckpointFile[],
  compute: "f32" | "bf16",
  limit: number,
): number {
  const plans = [
    buildProgram(model, tensors, { kind: "chunk", b: 1, l: chunkLength(1), compute }),
    buildProgram(model, tensors, { kind: "step", b: 1, compute }),
  ]
  const weights = files.reduce((sum, { bytes = 0 }) => sum + bytes, 0) + Math.max(...plans.map(derivedBytes)) + own
  const [activations, state, io] = [0, 1, 2].map((i) => Math.max(...plans.map((plan) => memoryOf(plan)[i]?.[1] ?? 0))) as [
    number,
    number,
    number,
  ]
  const needed = weights + activations + state + 2 * io
  if (needed <= addressable) return Math.min(limit, addressable - weights)
  const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`
  const largest = weights > needed / 2 ? "weights" : "activations"
  throw new MemoryLimitError(
    "MEMORY_LIMIT",
    `The model needs ${gib(needed)}, most of it for ${largest}; the limit of WebAssembly is ${gib(addressable)}.`,
    { needed, limit: addressable, largest, fix: "Use a smaller model or 16-bit weights; the native backend has no such limit." },
  )
}
