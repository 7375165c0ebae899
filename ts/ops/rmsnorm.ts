import type { Tensor } from "../graph/tensor.ts"
import { value } from "./apply.ts"

/** x / sqrt(mean(x²) + eps) · weight over the last axis of x f32[b, l, d] (arXiv 1910.07467); without weight, no scale. */
export function rmsnorm(x: Tensor, options: { weight?: Tensor; eps?: number; lens?: Tensor } = {}): Tensor {
  const { eps, ...inputs } = options
  return value("rmsnorm", { x, ...inputs }, { eps })
}
