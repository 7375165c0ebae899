/** What a model family is to the rest of the house: names, shapes, and a function over symbolic tensors. A family never sees a backend. */
import type { Tensor } from "../graph/tensor.ts"

/** A tensor the checkpoint must hold. `key` is the Hugging Face name; `aliases` are other layouts' names for the same tensor. */
export interface WeightSpec {
  key: string
  shape: number[]
  aliases?: string[]
  optional?: boolean
  /** The model computes without it: one that the checkpoint holds all the same is checked for its shape and left aside. */
  unused?: boolean
}

/** One state tensor of a row, in the engine's order of axes. `external` is the same tensor in `spec/state.md`: the two axes swapped. */
export interface StateSpec {
  name: string
  shape: [number, number]
  external: [number, number]
}

/** Shape and dtype of every checkpoint tensor, by canonical key. */
export type TensorTable = ReadonlyMap<string, { dtype: "f32" | "bf16" | "f16"; shape: readonly number[] }>

/** What a family's `forward` may use; made by `run/programs.ts` for each program. */
export interface ForwardContext {
  /** i32[b, l] */
  tokens: Tensor
  /** i32[b] */
  lens: Tensor
  /** A weight by canonical key, as stored (matrices) or widened to f32 (vectors, A). */
  weight(key: string, as?: "stored" | "f32" | "negexp", options?: { transpose?: boolean }): Tensor
  /** Whether the checkpoint holds this optional tensor. */
  has(key: string): boolean
  /** A state tensor f32[b, …] by the name in `state`. */
  state(name: string): Tensor
  compute: "f32" | "bf16"
  /** Called with the embedding, then after each layer, the last one after the final norm. */
  hidden(index: number, x: Tensor): void
  /** Offers a value for `capture`; the family calls it for every layer and name, the program keeps what was asked for. `dt` is Δ before softplus. */
  capture(layer: number, name: "dt" | "B" | "C", x: Tensor): void
  /** Labels the nodes traced inside, for error messages and the printed plan. */
  at<T>(label: string, body: () => T): T
}

/** A parsed configuration with everything needed to trace and to check a checkpoint. */
export interface LanguageModel {
  readonly family: string
  readonly hiddenSize: number
  readonly numHiddenLayers: number
  /** Ids that may be sampled, scored or fed: [0, vocabSize). */
  readonly vocabSize: number
  /** Rows of the embedding and head; ≥ vocabSize when padded. */
  readonly vocabRows: number
  /** Names that `capture` knows. */
  readonly captures: readonly string[]
  /** Fields that change the computation, for the fingerprint of `spec/state.md`. */
  readonly fingerprint: Readonly<Record<string, unknown>>
  readonly weights: readonly WeightSpec[]
  readonly state: readonly StateSpec[]
  /** From token ids to the final-norm rows f32[b, l, d]. */
  forward(context: ForwardContext): Tensor
  /** Key of the head's matrix, given what the checkpoint holds (tied: the embedding's). */
  headKey(has: (key: string) => boolean): string
}

export interface Family {
  readonly name: string
  /** Whether this raw `config.json` is of this family. */
  matches(config: Readonly<Record<string, unknown>>): boolean
  /** Throws CheckpointError that names the field, the value and what is supported. */
  parse(config: Readonly<Record<string, unknown>>): LanguageModel
}
