import type { Tensor } from "../graph/tensor.ts"
import { value } from "./apply.ts"

/**
 * x weightᵀ + bias + residual: x f32[b, l, k], weight [m, k] in its stored width, result f32[b, l, m]. `compute: "bf16"` rounds x to bf16
 * first.
 */
export function linear(
  x: Tensor,
  weight: Tensor,
  options: { bias?: Tensor; residual?: Tensor; lens?: Tensor; compute?: "f32" | "bf16" } = {},
): Tensor {
  const { compute, ...inputs } = options
  return value("linear", { x, weight, ...inputs }, { compute })
}
