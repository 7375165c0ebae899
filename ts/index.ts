/// <reference lib="esnext.disposable" preserve="true" />
/** Selective state-space models: load, generate, score, embed, and states as values. */
import type { CheckpointSource } from "./io/types.ts"
import { families } from "./models/index.ts"
import { node } from "./platform/node.ts"
import { type Info, makeInfo } from "./run/backends.ts"
import { type LoadOptions, loadFrom } from "./run/load.ts"
import type { Model } from "./run/model.ts"

export * from "./public.ts"

/**
 * Loads a model from a folder, a `.safetensors` file, a URL, a hub id `owner/name[@revision]`, or from its files (`File[]`, or a record of
 * parts); without `source` the embedded one, which a page gets from `statespace/tiny`. Weights keep their stored width; native code maps
 * their file.
 * @throws OptionError, CheckpointError, TokenizerError, HubError, BackendUnavailableError, MemoryLimitError; the signal's reason when aborted
 */
export function load(source?: CheckpointSource, options?: LoadOptions): Promise<Model> {
  return loadFrom(node, families, source, options)
}

/** Backends in the order in which "auto" tries them, each with the reason why it is not there, not taken, or limited. */
export function info(): Info {
  return makeInfo(node)
}
