/// <reference lib="esnext.disposable" preserve="true" />
/** Selective state-space models: load, generate, score, embed, and states as values. */
import { families } from "./models/index.ts"
import { type LoadOptions, loadFrom } from "./run/load.ts"
import type { Model } from "./run/model.ts"

export * from "./errors.ts"
export type { DecodeOptions } from "./io/tokenizer.ts"
export { Tokenizer } from "./io/tokenizer.ts"
export type { Family, ForwardContext, LanguageModel, StateSpec, TensorTable, WeightSpec } from "./models/family.ts"
export { type BackendName, type BackendStatus, type Info, info } from "./run/backends.ts"
export { Generation } from "./run/decode.ts"
export type { LoadOptions } from "./run/load.ts"
export { Model, type ModelConfig, type ModelInfo } from "./run/model.ts"
export { Session } from "./run/session.ts"
export type {
  EmbedOptions,
  FeedInput,
  FinishReason,
  ForwardOptions,
  ForwardResult,
  GenerateOptions,
  Ids,
  NumericArray,
  Piece,
  Progress,
  Prompt,
  Result,
  ScoreResult,
  Usage,
  WorkOptions,
} from "./run/types.ts"

/**
 * Loads a model from a folder, a `.safetensors` file, a URL, or a hub id `owner/name[@revision]`; without `source` the embedded one.
 * Weights keep their stored width and stay in their file, which is mapped.
 * @throws OptionError, CheckpointError, TokenizerError, HubError, BackendUnavailableError, MemoryLimitError; the signal's reason when aborted
 */
export function load(source?: string | URL, options?: LoadOptions): Promise<Model> {
  return loadFrom(families, source, options)
}
