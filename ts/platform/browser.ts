/** A browser: WebAssembly, addresses and files that the page was given. Touches nothing of the page before it is used. */
import type { WasmAssets } from "../backend/wasm/assets.ts"
import { defaultThreads, instructionSets, loadWasm, sharingMissing, wasmMissing } from "../backend/wasm/index.ts"
import { BackendUnavailableError } from "../errors.ts"
import { openElsewhere } from "../io/web/elsewhere.ts"
import type { BackendStatus, Platform } from "./types.ts"

function nativeMissing(backend: "cuda" | "native"): BackendUnavailableError {
  return new BackendUnavailableError("BACKEND_UNAVAILABLE", "A browser runs no native code.", {
    backend,
    fix: 'Use backend: "wasm" or "auto".',
  })
}

function wasmStatus(): BackendStatus {
  const missing = wasmMissing()
  if (missing !== undefined) return { name: "wasm", available: false, reason: `The wasm backend is not available: ${missing}.` }
  const alone = sharingMissing()
  const note = alone === undefined ? `${defaultThreads()} threads` : `single-threaded: ${alone}; serve it with both headers`
  return { name: "wasm", available: true, isas: instructionSets(), cores: alone === undefined ? defaultThreads() : 1, note }
}

/** `assets` say where the parts of the wasm backend lie; without them the caller of `load` must. */
export function browser(assets?: WasmAssets): Platform {
  return {
    name: "browser",
    order: ["wasm"],
    async backend(name, { nativePath: _none, ...options }) {
      if (name !== "wasm") throw nativeMissing(name)
      return loadWasm(options, assets)
    },
    status(name) {
      if (name === "wasm") return wasmStatus()
      return { name, available: false, reason: nativeMissing(name).message }
    },
    readsInEngine: true,
    openCheckpoint: openElsewhere,
    // Of the machine's memory, in GiB as far as the browser tells; a page shares the half of it with all others.
    memory: () => ((globalThis as { navigator?: { deviceMemory?: number } }).navigator?.deviceMemory ?? 4) * 2 ** 29,
    warn: (message, code) => console.warn(`[${code}] ${message}`),
  }
}
