import type { Tensor } from "../graph/tensor.ts"
import { value } from "./apply.ts"

/** log(1 + exp(x)) of x f32[b, l, d], as the scan computes its Δ. */
export function softplus(x: Tensor, options: { lens?: Tensor } = {}): Tensor {
  return value("softplus", { x, ...options })
}
