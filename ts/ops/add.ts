import type { Tensor } from "../graph/tensor.ts"
import { value } from "./apply.ts"

/** a + c, both f32[b, l, d]. */
export function add(a: Tensor, c: Tensor, options: { lens?: Tensor } = {}): Tensor {
  return value("add", { a, c, ...options })
}
