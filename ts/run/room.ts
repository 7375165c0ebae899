/** What fits a 32-bit WebAssembly or a GPU, known from the headers of the weight files, before the weights themselves are brought. */
import { turn } from "../backend/turn.ts"
import { MemoryLimitError } from "../errors.ts"
import type { LanguageModel, TensorTable } from "../models/family.ts"
import type { Plan } from "../plan/types.ts"
import { buildProgram } from "./programs.ts"
import { chunkLength, memoryOf } from "./runner.ts"

/** A memory that holds weights, programs and states. */
export interface Space {
  /** Bytes in all. */
  bytes: number
  /** Bytes of them that are nobody's to plan. */
  own: number
  /** In a sentence. */
  name: string
  fix: string
}

/** All that 32 bits can address; of it the module's own: code tables, stacks, plans, what the allocator loses. */
export const wasmSpace: Space = {
  ...{ bytes: 2 ** 32, own: 2 ** 26, name: "WebAssembly" },
  fix: "Use a smaller model or 16-bit weights; the native backend has no such limit.",
}

/** What was free of a GPU; of it what kernels work in, and what its driver takes for them. */
export function gpuSpace(free: number): Space {
  return { bytes: free, own: 2 ** 28, name: "the GPU's free memory", fix: "Free the GPU, or use a smaller model or another backend." }
}

/** Weights that a plan wants in another form than they are stored in are made beside them. */
function derivedBytes({ weights }: Plan): number {
  const made = weights.filter(({ as }) => as !== "stored")
  return made.reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0)
}

/** The plans that one conversation runs, by their specs. To trace one takes milliseconds, after which others have their turn. */
export async function firstPlans(model: LanguageModel, tensors: TensorTable, compute: "f32" | "bf16"): Promise<Map<string, Plan>> {
  const plans = new Map<string, Plan>()
  for (const spec of [{ kind: "chunk", b: 1, l: chunkLength(1) } as const, { kind: "step", b: 1 } as const]) {
    plans.set(JSON.stringify(spec), buildProgram(model, tensors, { ...spec, compute }))
    await turn()
  }
  return plans
}

/**
 * Bytes that programs and states may take beside the weights, at most `limit`.
 * @throws MemoryLimitError when the weights and these plans do not fit
 */
export function programRoom(plans: readonly Plan[], weightBytes: number, limit: number, space: Space): number {
  const weights = weightBytes + Math.max(...plans.map(derivedBytes)) + space.own
  const [activations, state, io] = [0, 1, 2].map((i) => Math.max(...plans.map((plan) => memoryOf(plan)[i]?.[1] ?? 0))) as [
    number,
    number,
    number,
  ]
  const needed = weights + activations + state + 2 * io
  if (needed <= space.bytes) return Math.min(limit, space.bytes - weights)
  const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`
  const largest = weights > needed / 2 ? "weights" : "activations"
  throw new MemoryLimitError(
    "MEMORY_LIMIT",
    `The model needs ${gib(needed)}, most of it for ${largest}; the limit of ${space.name} is ${gib(space.bytes)}.`,
    { needed, limit: space.bytes, largest, fix: space.fix },
  )
}
