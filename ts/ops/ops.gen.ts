// Written by scripts/gen-ops.ts from spec/ops.json. Do not edit.
import type { DType } from "../plan/types.ts"

/** Hash of the op table; an engine refuses a plan made with another. */
export const opset: string = "142ddc44a421f877"

export type OpName = "embed" | "rmsnorm" | "linear" | "conv1d_silu" | "scan" | "add" | "cast" | "transpose" | "softplus" | "sum_rows" | "linear_cross_entropy" | "sample"

/** y[b,t] = weight[tokens[b,t]]; the row is widened to f32. */
export interface EmbedAttrs {}
export type EmbedInput = "tokens" | "weight" | "lens"
export type EmbedOutput = "y"

/** y = x / sqrt(mean(x²) + eps) · weight over the last axis; statistics in f32 (arXiv 1910.07467). */
export interface RmsnormAttrs { eps: number }
export type RmsnormInput = "x" | "weight" | "lens"
export type RmsnormOutput = "y"

/** y = x weightᵀ + bias + residual; weight is (out, in), kept in its stored width and widened to f32 in registers; accumulation in f32. compute "bf16" rounds x (and an f32 weight) to bf16 first. */
export interface LinearAttrs { compute: "f32" | "bf16" }
export type LinearInput = "x" | "weight" | "bias" | "residual" | "lens"
export type LinearOutput = "y"

/** Causal depthwise convolution, then SiLU: y[t] = silu(bias + Σ_j weight[j]·x[t-(w-1)+j]); samples before the first come from state (the last w-1 inputs, oldest first), which is left as the last w-1 inputs at lens. */
export interface Conv1dSiluAttrs {}
export type Conv1dSiluInput = "x" | "weight" | "bias" | "state" | "lens"
export type Conv1dSiluOutput = "y"

/** Selective scan (arXiv 2312.00752, algorithm 2): s = dt + dt_bias, Δ = softplus(s) or s; h[n] = exp(Δ·A[n])·h[n] + Δ·B[n]·u; y = (Σ_n C[n]·h[n] + D·u)·silu(z). B and C are shared by the e/groups channels of a group. state is h before the first and, after the run, after the last valid step; channels are innermost. Activations are of one stored type, y too; all arithmetic is in f32. */
export interface ScanAttrs { softplus: boolean; groups: number }
export type ScanInput = "u" | "dt" | "A" | "B" | "C" | "D" | "z" | "dt_bias" | "state" | "lens"
export type ScanOutput = "y"

/** y = a + c. */
export interface AddAttrs {}
export type AddInput = "a" | "c" | "lens"
export type AddOutput = "y"

/** y = x in another floating type; narrowing rounds to nearest, ties to even. */
export interface CastAttrs { to: "f32" | "bf16" | "f16" }
export type CastInput = "x" | "lens"
export type CastOutput = "y"

/** y[b,j,i] = x[b,i,j]. */
export interface TransposeAttrs {}
export type TransposeInput = "x"
export type TransposeOutput = "y"

/** y = log1p(exp(x)) for x ≤ 20, else x: the scan's Δ, for looking at it. */
export interface SoftplusAttrs {}
export type SoftplusInput = "x" | "lens"
export type SoftplusOutput = "y"

/** acc[b] += Σ_t x[b,t] over the valid rows, in order of t: pooling over any length in constant memory. */
export interface SumRowsAttrs {}
export type SumRowsInput = "x" | "acc" | "lens"
export type SumRowsOutput = never

/** nll[b,t] = logsumexp(logits) − logits[targets[b,t]], logits = x weightᵀ over the first `vocab` rows (0: all); walks the head in blocks and never holds all logits. */
export interface LinearCrossEntropyAttrs { vocab: number; compute: "f32" | "bf16" }
export type LinearCrossEntropyInput = "x" | "weight" | "targets" | "lens"
export type LinearCrossEntropyOutput = "nll"

/** Next token of each live row (lens > 0). logprob = log softmax of the raw logits. Then transformers' order: repetition penalty over `seen`, eos suppressed while counter < sampler[6], and with sampler[5] ≠ 0: temperature, top-k, top-p, min-p, inverse CDF in f64 over ascending ids with Philox4x32-10(key = seed, counter); else the first maximum. Writes tokens, sets the seen bit, bumps the counter, and on an eos id sets lens to 0. Slot `step` of the outputs gets (id, logprob); −1 marks a row with a non-finite logit (nothing is updated), −2 a frozen row. sampler = [temperature, topK (0 off), topP (≥1 off), minP (0 off), repetitionPenalty, doSample, minCounter, 0]; rng = [seed lo, seed hi, counter lo, counter hi]. */
export interface SampleAttrs { vocab: number; steps: number }
export type SampleInput = "logits" | "tokens" | "lens" | "rng" | "sampler" | "eos" | "seen"
export type SampleOutput = "token" | "logprob"

/** Types by op name. */
export interface AttrsOf { embed: EmbedAttrs; rmsnorm: RmsnormAttrs; linear: LinearAttrs; conv1d_silu: Conv1dSiluAttrs; scan: ScanAttrs; add: AddAttrs; cast: CastAttrs; transpose: TransposeAttrs; softplus: SoftplusAttrs; sum_rows: SumRowsAttrs; linear_cross_entropy: LinearCrossEntropyAttrs; sample: SampleAttrs }
export interface InputsOf { embed: EmbedInput; rmsnorm: RmsnormInput; linear: LinearInput; conv1d_silu: Conv1dSiluInput; scan: ScanInput; add: AddInput; cast: CastInput; transpose: TransposeInput; softplus: SoftplusInput; sum_rows: SumRowsInput; linear_cross_entropy: LinearCrossEntropyInput; sample: SampleInput }
export interface OutputsOf { embed: EmbedOutput; rmsnorm: RmsnormOutput; linear: LinearOutput; conv1d_silu: Conv1dSiluOutput; scan: ScanOutput; add: AddOutput; cast: CastOutput; transpose: TransposeOutput; softplus: SoftplusOutput; sum_rows: SumRowsOutput; linear_cross_entropy: LinearCrossEntropyOutput; sample: SampleOutput }

/** Values of an op's symbols and u32 attributes; for `bytes` also the element sizes, in bytes, of its tensors by name. */
export type Dims = Readonly<Record<string, number>>
/**
 * `shape` as in the table, one expression an axis; `dims` its value. `like`: the input whose dtype this one has. `ld`: rows may lie further
 * apart than the last axis is long.
 */
export interface InputSpec<N extends string = string> {
  readonly name: N; readonly shape: readonly string[]; readonly dims: (d: Dims) => number[]
  readonly dtypes: readonly DType[]; readonly like?: string; readonly optional: boolean; readonly ld: boolean
}
/** `dtype` is `attr:name` where an attribute gives it, `like:name` where it is an input's. */
export interface OutputSpec<N extends string = string> {
  readonly name: N; readonly shape: readonly string[]; readonly dims: (d: Dims) => number[]
  readonly dtype: DType | `attr:${string}` | `like:${string}`
}
export interface AttrSpec<N extends string = string> {
  readonly name: N; readonly type: "f32" | "u32" | "bool" | "enum"; readonly values?: readonly string[]; readonly default: number | boolean | string
}
export interface Signature<K extends OpName = OpName> {
  readonly name: K
  readonly inputs: readonly InputSpec<InputsOf[K]>[]
  readonly outputs: readonly OutputSpec<OutputsOf[K]>[]
  readonly attrs: readonly AttrSpec<Extract<keyof AttrsOf[K], string>>[]
  /** [input, output] pairs that may lie in the same bytes. */
  readonly inplace: readonly (readonly [InputsOf[K], OutputsOf[K]])[]
  /** Inputs that the op also writes; they are state. */
  readonly updates: readonly InputsOf[K][]
  /** What must hold of the symbols beyond the shapes. */
  readonly requires: readonly { readonly text: string; readonly holds: (d: Dims) => boolean }[]
  readonly bytes: (d: Dims) => number
  readonly flops: (d: Dims) => number
}

/** The table. */
export const ops: { readonly [K in OpName]: Signature<K> } = {
  embed: {
    name: "embed",
    inputs: [
      { name: "tokens", shape: ["b","l"], dims: (d) => [d.b!, d.l!], dtypes: ["i32"], optional: false, ld: false },
      { name: "weight", shape: ["v","d"], dims: (d) => [d.v!, d.d!], dtypes: ["f32","bf16","f16"], optional: false, ld: false },
      { name: "lens", shape: ["b"], dims: (d) => [d.b!], dtypes: ["i32"], optional: true, ld: false },
    ],
    outputs: [
      { name: "y", shape: ["b","l","d"], dims: (d) => [d.b!, d.l!, d.d!], dtype: "f32" },
    ],
    attrs: [
    ],
    inplace: [],
    updates: [],
    requires: [{ text: "v >= 1", holds: (d) => d.v! >= 1 }],
    bytes: (d) => (d.b! * d.l! * d.d! * (4 + d.weight!)) + (d.b! * d.l! * 4),
    flops: () => 0,
  },
  rmsnorm: {
    name: "rmsnorm",
    inputs: [
      { name: "x", shape: ["b","l","d"], dims: (d) => [d.b!, d.l!, d.d!], dtypes: ["f32"], optional: false, ld: true },
      { name: "weight", shape: ["d"], dims: (d) => [d.d!], dtypes: ["f32"], optional: true, ld: false },
      { name: "lens", shape: ["b"], dims: (d) => [d.b!], dtypes: ["i32"], optional: true, ld: false },
    ],
    outputs: [
      { name: "y", shape: ["b","l","d"], dims: (d) => [d.b!, d.l!, d.d!], dtype: "f32" },
    ],
    attrs: [
      { name: "eps", type: "f32", default: 0.00001 },
    ],
    inplace: [["x","y"]],
    updates: [],
    requires: [],
    bytes: (d) => (8 * d.b! * d.l! * d.d!) + (4 * d.d!),
    flops: (d) => 4 * d.b! * d.l! * d.d!,
  },
  linear: {
    name: "linear",
    inputs: [
      { name: "x", shape: ["b","l","k"], dims: (d) => [d.b!, d.l!, d.k!], dtypes: ["f32"], optional: false, ld: true },
      { name: "weight", shape: ["m","k"], dims: (d) => [d.m!, d.k!], dtypes: ["f32","bf16","f16"], optional: false, ld: false },
      { name: "bias", shape: ["m"], dims: (d) => [d.m!], dtypes: ["f32"], optional: true, ld: false },
      { name: "residual", shape: ["b","l","m"], dims: (d) => [d.b!, d.l!, d.m!], dtypes: ["f32"], optional: true, ld: false },
      { name: "lens", shape: ["b"], dims: (d) => [d.b!], dtypes: ["i32"], optional: true, ld: false },
    ],
    outputs: [
      { name: "y", shape: ["b","l","m"], dims: (d) => [d.b!, d.l!, d.m!], dtype: "f32" },
    ],
    attrs: [
      { name: "compute", type: "enum", values: ["f32","bf16"], default: "f32" },
    ],
    inplace: [["residual","y"]],
    updates: [],
    requires: [],
    bytes: (d) => (d.m! * d.k! * d.weight!) + (4 * d.b! * d.l! * (d.k! + d.m!)),
    flops: (d) => 2 * d.b! * d.l! * d.k! * d.m!,
  },
  conv1d_silu: {
    name: "conv1d_silu",
    inputs: [
      { name: "x", shape: ["b","l","e"], dims: (d) => [d.b!, d.l!, d.e!], dtypes: ["f32"], optional: false, ld: true },
      { name: "weight", shape: ["w","e"], dims: (d) => [d.w!, d.e!], dtypes: ["f32"], optional: false, ld: false },
      { name: "bias", shape: ["e"], dims: (d) => [d.e!], dtypes: ["f32"], optional: true, ld: false },
      { name: "state", shape: ["b","w-1","e"], dims: (d) => [d.b!, d.w! - 1, d.e!], dtypes: ["f32"], optional: false, ld: false },
      { name: "lens", shape: ["b"], dims: (d) => [d.b!], dtypes: ["i32"], optional: true, ld: false },
    ],
    outputs: [
      { name: "y", shape: ["b","l","e"], dims: (d) => [d.b!, d.l!, d.e!], dtype: "f32" },
    ],
    attrs: [
    ],
    inplace: [],
    updates: ["state"],
    requires: [{ text: "w >= 1", holds: (d) => d.w! >= 1 }],
    bytes: (d) => (8 * d.b! * d.l! * d.e!) + (8 * d.b! * (d.w! - 1) * d.e!) + (4 * (d.w! + 1) * d.e!),
    flops: (d) => d.b! * d.l! * d.e! * ((2 * d.w!) + 5),
  },
  scan: {
    name: "scan",
    inputs: [
      { name: "u", shape: ["b","l","e"], dims: (d) => [d.b!, d.l!, d.e!], dtypes: ["f32","bf16","f16"], optional: false, ld: true },
      { name: "dt", shape: ["b","l","e"], dims: (d) => [d.b!, d.l!, d.e!], dtypes: ["f32","bf16","f16"], like: "u", optional: false, ld: true },
      { name: "A", shape: ["n","e"], dims: (d) => [d.n!, d.e!], dtypes: ["f32"], optional: false, ld: false },
      { name: "B", shape: ["b","l","groups*n"], dims: (d) => [d.b!, d.l!, d.groups! * d.n!], dtypes: ["f32","bf16","f16"], like: "u", optional: false, ld: true },
      { name: "C", shape: ["b","l","groups*n"], dims: (d) => [d.b!, d.l!, d.groups! * d.n!], dtypes: ["f32","bf16","f16"], like: "u", optional: false, ld: true },
      { name: "D", shape: ["e"], dims: (d) => [d.e!], dtypes: ["f32"], optional: true, ld: false },
      { name: "z", shape: ["b","l","e"], dims: (d) => [d.b!, d.l!, d.e!], dtypes: ["f32","bf16","f16"], like: "u", optional: true, ld: true },
      { name: "dt_bias", shape: ["e"], dims: (d) => [d.e!], dtypes: ["f32"], optional: true, ld: false },
      { name: "state", shape: ["b","n","e"], dims: (d) => [d.b!, d.n!, d.e!], dtypes: ["f32"], optional: false, ld: false },
      { name: "lens", shape: ["b"], dims: (d) => [d.b!], dtypes: ["i32"], optional: true, ld: false },
    ],
    outputs: [
      { name: "y", shape: ["b","l","e"], dims: (d) => [d.b!, d.l!, d.e!], dtype: "like:u" },
    ],
    attrs: [
      { name: "softplus", type: "bool", default: true },
      { name: "groups", type: "u32", default: 1 },
    ],
    inplace: [["u","y"],["dt","y"]],
    updates: ["state"],
    requires: [{ text: "groups >= 1", holds: (d) => d.groups! >= 1 }, { text: "e % groups == 0", holds: (d) => d.e! % d.groups! === 0 }],
    bytes: (d) => (d.u! * d.b! * d.l! * ((4 * d.e!) + (2 * d.groups! * d.n!))) + (8 * d.b! * d.n! * d.e!) + (4 * d.n! * d.e!),
    flops: (d) => d.b! * d.l! * d.e! * ((7 * d.n!) + 12),
  },
  add: {
    name: "add",
    inputs: [
      { name: "a", shape: ["b","l","d"], dims: (d) => [d.b!, d.l!, d.d!], dtypes: ["f32"], optional: false, ld: false },
      { name: "c", shape: ["b","l","d"], dims: (d) => [d.b!, d.l!, d.d!], dtypes: ["f32"], optional: false, ld: false },
      { name: "lens", shape: ["b"], dims: (d) => [d.b!], dtypes: ["i32"], optional: true, ld: false },
    ],
    outputs: [
      { name: "y", shape: ["b","l","d"], dims: (d) => [d.b!, d.l!, d.d!], dtype: "f32" },
    ],
    attrs: [
    ],
    inplace: [["a","y"],["c","y"]],
    updates: [],
    requires: [],
    bytes: (d) => 12 * d.b! * d.l! * d.d!,
    flops: (d) => d.b! * d.l! * d.d!,
  },
  cast: {
    name: "cast",
    inputs: [
      { name: "x", shape: ["b","l","d"], dims: (d) => [d.b!, d.l!, d.d!], dtypes: ["f32","bf16","f16"], optional: false, ld: true },
      { name: "lens", shape: ["b"], dims: (d) => [d.b!], dtypes: ["i32"], optional: true, ld: false },
    ],
    outputs: [
      { name: "y", shape: ["b","l","d"], dims: (d) => [d.b!, d.l!, d.d!], dtype: "attr:to" },
    ],
    attrs: [
      { name: "to", type: "enum", values: ["f32","bf16","f16"], default: "f32" },
    ],
    inplace: [],
    updates: [],
    requires: [],
    bytes: (d) => d.b! * d.l! * d.d! * (d.x! + d.y!),
    flops: () => 0,
  },
  transpose: {
    name: "transpose",
    inputs: [
      { name: "x", shape: ["b","l","d"], dims: (d) => [d.b!, d.l!, d.d!], dtypes: ["f32"], optional: false, ld: false },
    ],
    outputs: [
      { name: "y", shape: ["b","d","l"], dims: (d) => [d.b!, d.d!, d.l!], dtype: "f32" },
    ],
    attrs: [
    ],
    inplace: [],
    updates: [],
    requires: [],
    bytes: (d) => 8 * d.b! * d.l! * d.d!,
    flops: () => 0,
  },
  softplus: {
    name: "softplus",
    inputs: [
      { name: "x", shape: ["b","l","d"], dims: (d) => [d.b!, d.l!, d.d!], dtypes: ["f32"], optional: false, ld: true },
      { name: "lens", shape: ["b"], dims: (d) => [d.b!], dtypes: ["i32"], optional: true, ld: false },
    ],
    outputs: [
      { name: "y", shape: ["b","l","d"], dims: (d) => [d.b!, d.l!, d.d!], dtype: "f32" },
    ],
    attrs: [
    ],
    inplace: [["x","y"]],
    updates: [],
    requires: [],
    bytes: (d) => 8 * d.b! * d.l! * d.d!,
    flops: (d) => 12 * d.b! * d.l! * d.d!,
  },
  sum_rows: {
    name: "sum_rows",
    inputs: [
      { name: "x", shape: ["b","l","d"], dims: (d) => [d.b!, d.l!, d.d!], dtypes: ["f32"], optional: false, ld: false },
      { name: "acc", shape: ["b","d"], dims: (d) => [d.b!, d.d!], dtypes: ["f32"], optional: false, ld: false },
      { name: "lens", shape: ["b"], dims: (d) => [d.b!], dtypes: ["i32"], optional: true, ld: false },
    ],
    outputs: [
    ],
    attrs: [
    ],
    inplace: [],
    updates: ["acc"],
    requires: [],
    bytes: (d) => (4 * d.b! * d.l! * d.d!) + (8 * d.b! * d.d!),
    flops: (d) => d.b! * d.l! * d.d!,
  },
  linear_cross_entropy: {
    name: "linear_cross_entropy",
    inputs: [
      { name: "x", shape: ["b","l","k"], dims: (d) => [d.b!, d.l!, d.k!], dtypes: ["f32"], optional: false, ld: false },
      { name: "weight", shape: ["m","k"], dims: (d) => [d.m!, d.k!], dtypes: ["f32","bf16","f16"], optional: false, ld: false },
      { name: "targets", shape: ["b","l"], dims: (d) => [d.b!, d.l!], dtypes: ["i32"], optional: false, ld: false },
      { name: "lens", shape: ["b"], dims: (d) => [d.b!], dtypes: ["i32"], optional: true, ld: false },
    ],
    outputs: [
      { name: "nll", shape: ["b","l"], dims: (d) => [d.b!, d.l!], dtype: "f32" },
    ],
    attrs: [
      { name: "vocab", type: "u32", default: 0 },
      { name: "compute", type: "enum", values: ["f32","bf16"], default: "f32" },
    ],
    inplace: [],
    updates: [],
    requires: [{ text: "m >= 1", holds: (d) => d.m! >= 1 }, { text: "vocab <= m", holds: (d) => d.vocab! <= d.m! }],
    bytes: (d) => (d.m! * d.k! * d.weight!) + (4 * d.b! * d.l! * (d.k! + 2)),
    flops: (d) => d.b! * d.l! * d.m! * ((2 * d.k!) + 4),
  },
  sample: {
    name: "sample",
    inputs: [
      { name: "logits", shape: ["b","1","v"], dims: (d) => [d.b!, 1, d.v!], dtypes: ["f32"], optional: false, ld: false },
      { name: "tokens", shape: ["b","1"], dims: (d) => [d.b!, 1], dtypes: ["i32"], optional: false, ld: false },
      { name: "lens", shape: ["b"], dims: (d) => [d.b!], dtypes: ["i32"], optional: false, ld: false },
      { name: "rng", shape: ["b","4"], dims: (d) => [d.b!, 4], dtypes: ["u32"], optional: false, ld: false },
      { name: "sampler", shape: ["b","8"], dims: (d) => [d.b!, 8], dtypes: ["f32"], optional: false, ld: false },
      { name: "eos", shape: ["k"], dims: (d) => [d.k!], dtypes: ["i32"], optional: false, ld: false },
      { name: "seen", shape: ["b","ceil(v/8)"], dims: (d) => [d.b!, Math.ceil(d.v! / 8)], dtypes: ["u8"], optional: false, ld: false },
    ],
    outputs: [
      { name: "token", shape: ["b","steps"], dims: (d) => [d.b!, d.steps!], dtype: "i32" },
      { name: "logprob", shape: ["b","steps"], dims: (d) => [d.b!, d.steps!], dtype: "f32" },
    ],
    attrs: [
      { name: "vocab", type: "u32", default: 0 },
      { name: "steps", type: "u32", default: 8 },
    ],
    inplace: [],
    updates: ["tokens","lens","rng","seen"],
    requires: [{ text: "v >= 1", holds: (d) => d.v! >= 1 }, { text: "vocab <= v", holds: (d) => d.vocab! <= d.v! }, { text: "steps >= 1", holds: (d) => d.steps! >= 1 }],
    bytes: (d) => 4 * d.b! * d.v!,
    flops: (d) => d.b! * d.v! * 8,
  },
}
