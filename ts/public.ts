/** What every entry of the package passes on: all but the few functions that differ between Node and a browser. */
export * from "./errors.ts"
export type { DecodeOptions } from "./io/tokenizer.ts"
export { Tokenizer } from "./io/tokenizer.ts"
export type { BlobLike, CheckpointParts, CheckpointSource, FileLike, FilePart, JsonPart } from "./io/types.ts"
export type { Family, ForwardContext, LanguageModel, StateSpec, TensorTable, WeightSpec } from "./models/family.ts"
export type { BackendName, BackendStatus, Info } from "./run/backends.ts"
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
