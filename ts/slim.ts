/// <reference lib="esnext.disposable" preserve="true" />
/** `statespace` without its assets: nothing for a bundler to find, so the caller says where the module and the Worker lie. */
import type { WasmOptions } from "./backend/wasm/index.ts"
import type { CheckpointSource } from "./io/types.ts"
import { families } from "./models/index.ts"
import { browser } from "./platform/browser.ts"
import { type Info, makeInfo } from "./run/backends.ts"
import { type LoadOptions, loadFrom } from "./run/load.ts"
import type { Model } from "./run/model.ts"

export * from "./public.ts"

/** `wasm` and `worker` must be given: `statespace/engine.wasm` and `statespace/worker.js`, wherever your page has them. */
export type SlimOptions = LoadOptions & { wasm: NonNullable<WasmOptions["wasm"]>; worker: NonNullable<WasmOptions["worker"]> }

const platform = browser()

/** `load` of `statespace`, in a page. @throws BackendUnavailableError without `wasm` or `worker` */
export function load(source: CheckpointSource, options: SlimOptions): Promise<Model> {
  return loadFrom(platform, families, source, options)
}

/** `info` of `statespace`, in a page. */
export function info(): Info {
  return makeInfo(platform)
}
