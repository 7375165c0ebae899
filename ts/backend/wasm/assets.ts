/** Where the parts of this package lie, in the words that bundlers look for. */
import { builtin } from "./module.ts"
import { importing, isForeign } from "./ports.ts"

declare const Worker: new (url: URL, options: { type: "module" }) => object

/** The parts that a caller need not name. */
export interface WasmAssets {
  /** The module, with or without threads. */
  wasm(threads: boolean): URL
  /** The Worker's script, or a function that starts it. */
  worker: URL | (() => object)
}

// In a variable, so that bundlers do not take the script for a picture. From sources it is the built one: Node starts no TypeScript.
const script: string = import.meta.url.endsWith(".ts") ? "../../../dist/worker.js" : "../../worker.js"

export const assets: WasmAssets = {
  wasm: (threads) =>
    threads ? new URL("../../../wasm/engine-threads.wasm", import.meta.url) : new URL("../../../wasm/engine.wasm", import.meta.url),
  worker:
    builtin("node:worker_threads") === undefined
      ? () =>
          isForeign(import.meta.url)
            ? importing(new URL(script, import.meta.url))
            : new Worker(new URL("../../worker.js", import.meta.url), { type: "module" })
      : new URL(script, import.meta.url),
}
