import type { Tensor } from "../graph/tensor.ts"
import { value } from "./apply.ts"

/** f32[b, l, d] to f32[b, d, l]. */
export function transpose(x: Tensor): Tensor {
  return value("transpose", { x })
}
