import type { Tensor } from "../graph/tensor.ts"
import { value } from "./apply.ts"

export interface ScanOperands {
  /** f32[n, e], negative. */
  A: Tensor
  /** [b, l, groups · n] of u's type, like C. */
  B: Tensor
  C: Tensor
  /** f32[e] */
  D?: Tensor
  /** [b, l, e] of u's type */
  z?: Tensor
  /** f32[e] */
  dtBias?: Tensor
  /** f32[b, n, e]: h before the first step, left at h after the last. */
  state: Tensor
  lens?: Tensor
  softplus?: boolean
  groups?: number
}

/**
 * Selective scan (arXiv 2312.00752, algorithm 2) of u and dt, [b, l, e] in f32, bf16 or f16, which y is in, too: with
 * Δ = softplus(dt + dtBias), or the sum itself without `softplus`, h[n] ← exp(Δ·A[n])·h[n] + Δ·B[n]·u and y = (Σₙ C[n]·h[n] + D·u)·silu(z).
 */
export function scan(u: Tensor, dt: Tensor, operands: ScanOperands): Tensor {
  const { dtBias, softplus, groups, ...inputs } = operands
  return value("scan", { u, dt, dt_bias: dtBias, ...inputs }, { softplus, groups })
}
