import type { Tensor } from "../graph/tensor.ts"
import { value } from "./apply.ts"

/** x [b, l, d] in another floating type; narrowing rounds to nearest, ties to even. To its own type it is a copy with adjacent rows. */
export function cast(x: Tensor, to: "f32" | "bf16" | "f16", options: { lens?: Tensor } = {}): Tensor {
  return value("cast", { x, ...options }, { to })
}
