/**
 * Where the parts of this package lie, in the words that bundlers look for. `worker.js` is one file without imports, so that a bundler may
 * treat it like a picture.
 */

/** The parts that a caller need not name. */
export interface WasmAssets {
  /** The module: with or without threads, with relaxed instructions or without. */
  wasm(threads: boolean, relaxed: boolean): URL
  /** The script of the Workers. */
  worker(): URL
}

export const assets: WasmAssets = {
  wasm(threads, relaxed) {
    if (threads && relaxed) return new URL("../../../wasm/engine-relaxed-threads.wasm", import.meta.url)
    if (threads) return new URL("../../../wasm/engine-threads.wasm", import.meta.url)
    if (relaxed) return new URL("../../../wasm/engine-relaxed.wasm", import.meta.url)
    return new URL("../../../wasm/engine.wasm", import.meta.url)
  },
  worker() {
    const url = new URL("../../worker.js", import.meta.url)
    // Run from its sources the package starts the Worker that was built: Node 20 starts no TypeScript. Otherwise the address stays as the
    // bundler made it, and Turbopack makes one without an origin.
    return url.href.endsWith("/ts/worker.js") ? new URL("../dist/worker.js", url) : url
  },
}
