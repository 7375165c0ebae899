import type { Tensor } from "../graph/tensor.ts"
import { value } from "./apply.ts"

/** Rows of `weight` [v, d] by `tokens` i32[b, l], widened to f32[b, l, d]. */
export function embed(tokens: Tensor, weight: Tensor, options: { lens?: Tensor } = {}): Tensor {
  return value("embed", { tokens, weight, ...options })
}
