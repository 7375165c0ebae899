/// <reference lib="esnext.disposable" preserve="true" />
/** The entry of browsers: the same names, types and results as in Node. Importing it touches nothing of the page. */
import { assets } from "./backend/wasm/assets.ts"
import type { CheckpointSource } from "./io/types.ts"
import { families } from "./models/index.ts"
import { browser } from "./platform/browser.ts"
import { type Info, makeInfo } from "./run/backends.ts"
import { type LoadOptions, loadFrom } from "./run/load.ts"
import type { Model } from "./run/model.ts"

export * from "./public.ts"

const platform = browser(assets)

/** `load` of `statespace`, in a page. */
export function load(source?: CheckpointSource, options?: LoadOptions): Promise<Model> {
  return loadFrom(platform, families, source, options)
}

/** `info` of `statespace`, in a page. */
export function info(): Info {
  return makeInfo(platform)
}
