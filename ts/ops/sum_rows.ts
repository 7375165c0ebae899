import type { Tensor } from "../graph/tensor.ts"
import { apply } from "./apply.ts"

/** Adds the valid rows of x f32[b, l, d] to the state buffer `acc` f32[b, d]. */
export function sumRows(x: Tensor, acc: Tensor, options: { lens?: Tensor } = {}): void {
  apply("sum_rows", { x, acc, ...options })
}
