import type { Tensor } from "../graph/tensor.ts"
import { value } from "./apply.ts"

/**
 * Negative log-likelihood f32[b, l] of `targets` i32[b, l] under the logits x weightᵀ of the first `vocab` rows of weight [m, k] (0: all). The
 * logits are never held all at once.
 */
export function linearCrossEntropy(
  x: Tensor,
  weight: Tensor,
  targets: Tensor,
  options: { lens?: Tensor; vocab?: number; compute?: "f32" | "bf16" } = {},
): Tensor {
  const { lens, ...attrs } = options
  return value("linear_cross_entropy", { x, weight, targets, lens }, attrs)
}
