import type { Tensor } from "../graph/tensor.ts"
import { value } from "./apply.ts"

/**
 * Causal depthwise convolution, then SiLU: x f32[b, l, e], weight f32[w, e], whose last row meets the current sample. `state` f32[b, w − 1, e]
 * holds the inputs before the first and is left holding the last ones.
 */
export function conv1dSilu(x: Tensor, weight: Tensor, options: { bias?: Tensor; state: Tensor; lens?: Tensor }): Tensor {
  return value("conv1d_silu", { x, weight, ...options })
}
