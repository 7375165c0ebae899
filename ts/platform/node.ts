/** Node: native code and the file system. */
import { existsSync } from "node:fs"
import { totalmem } from "node:os"
import { loadNative } from "../backend/native.ts"
import { assets } from "../backend/wasm/assets.ts"
import { defaultThreads, instructionSets, loadWasm, relaxedSimd, wasmMissing } from "../backend/wasm/index.ts"
import { StatespaceError } from "../errors.ts"
import { findPlace, openCheckpoint } from "../io/source.ts"
import { cudaMissing } from "./cuda.ts"
import type { BackendStatus, Platform } from "./types.ts"

function wasmStatus(): BackendStatus {
  const threads = defaultThreads()
  const there = existsSync(assets.wasm(threads > 1, relaxedSimd()))
  const missing = wasmMissing() ?? (there ? undefined : "this installation has no module for it")
  if (missing !== undefined) return { name: "wasm", available: false, reason: `The wasm backend is not available: ${missing}.` }
  const note = threads > 1 ? `${threads} threads` : "single-threaded"
  return { name: "wasm", available: true, isas: instructionSets(), cores: threads, note }
}

function nativeStatus(): BackendStatus {
  try {
    const { isas, cores } = loadNative().info()
    return { name: "native", available: true, isas, cores }
  } catch (error) {
    if (!(error instanceof StatespaceError)) throw error
    return { name: "native", available: false, reason: error.message }
  }
}

export const node: Platform = {
  name: "node",
  order: ["native", "wasm"],
  async backend(name, { nativePath, ...options }) {
    if (name === "cuda") throw cudaMissing()
    return name === "native" ? loadNative(nativePath) : loadWasm(options, assets)
  },
  status(name) {
    if (name === "cuda") return { name, available: false, reason: cudaMissing().message }
    return name === "native" ? nativeStatus() : wasmStatus()
  },
  openCheckpoint,
  findFile: findPlace,
  // Half of the machine: the rest belongs to the page cache that holds the weights, and to everybody else.
  memory: () => totalmem() / 2,
  warn: (message, code) => process.emitWarning(message, { code }),
}
