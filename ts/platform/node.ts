/** Node: native code and the file system. */
import { existsSync } from "node:fs"
import { totalmem } from "node:os"
import { cudaDevices, loadCuda } from "../backend/cuda.ts"
import { loadNative } from "../backend/native.ts"
import { assets } from "../backend/wasm/assets.ts"
import { defaultThreads, instructionSets, loadWasm, relaxedSimd, wasmMissing } from "../backend/wasm/index.ts"
import { StatespaceError } from "../errors.ts"
import { findPlace, openCheckpoint } from "../io/source.ts"
import { withTokenizer } from "../io/tokenizer-file.ts"
import type { BackendStatus, Platform } from "./types.ts"

function wasmStatus(): BackendStatus {
  const threads = defaultThreads()
  const there = existsSync(assets.wasm(threads > 1, relaxedSimd()))
  const missing = wasmMissing() ?? (there ? undefined : "this installation has no module for it")
  if (missing !== undefined) return { name: "wasm", available: false, reason: `The wasm backend is not available: ${missing}.` }
  const note = threads > 1 ? `${threads} threads` : "single-threaded"
  return { name: "wasm", available: true, isas: instructionSets(), cores: threads, note }
}

/** What `look` finds, or why there is nothing. */
function statusOf(name: string, look: () => Partial<BackendStatus>): BackendStatus {
  try {
    return { name, available: true, ...look() }
  } catch (error) {
    if (!(error instanceof StatespaceError)) throw error
    return { name, available: false, reason: error.message }
  }
}

const looks: Readonly<Record<"cuda" | "native", () => Partial<BackendStatus>>> = {
  cuda: () => ({ devices: cudaDevices() }),
  native() {
    const { isas, cores } = loadNative().info()
    return { isas, cores }
  },
}

export const node: Platform = {
  name: "node",
  order: ["cuda", "native", "wasm"],
  async backend(name, { nativePath, ...options }) {
    if (name === "wasm") return loadWasm(options, assets)
    return name === "cuda" ? loadCuda(nativePath) : loadNative(nativePath)
  },
  status(name) {
    return name === "wasm" ? wasmStatus() : statusOf(name, looks[name])
  },
  readsInEngine: false,
  openCheckpoint: async (source, options) => withTokenizer(await openCheckpoint(source, options), findPlace, options),
  // Half of the machine: the rest belongs to the page cache that holds the weights, and to everybody else.
  memory: () => totalmem() / 2,
  warn: (message, code) => process.emitWarning(message, { code }),
}
