import type { Tensor } from "../graph/tensor.ts"
import { apply } from "./apply.ts"

/** The logits f32[b, 1, v] and the state buffers that sampling reads and, but for `sampler` and `eos`, updates. */
export interface SampleOperands {
  logits: Tensor
  tokens: Tensor
  lens: Tensor
  rng: Tensor
  sampler: Tensor
  eos: Tensor
  seen: Tensor
}

/** Draws one token a row, an id below `vocab`; the outputs [b, steps] have one slot for each step of a run. */
export function sample(operands: SampleOperands, options: { vocab: number; steps: number }): { token: Tensor; logprob: Tensor } {
  const [token, logprob] = apply("sample", { ...operands }, options) as [Tensor, Tensor]
  return { token, logprob }
}
