/**
 * The backend under test: `STATESPACE_TEST_BACKEND` is `native` (default), `cuda` (the first GPU), `cuda-emulated` (its kernels on an
 * emulator, by a native module that was built with the feature `emulate`), `wasm` (Workers that share memory), `wasm-single` (one Worker, no
 * shared memory) or `wasm-direct` (no Worker). `backend.page.ts` is its twin in a page.
 */
import { loadAddon } from "../../ts/backend/addon.ts"
import { loadCuda } from "../../ts/backend/cuda.ts"
import type { Backend, EngineOptions } from "../../ts/backend/interface.ts"
import { backendOf, loadNative } from "../../ts/backend/native.ts"
import { translate } from "../../ts/backend/refusals.ts"
import { assets } from "../../ts/backend/wasm/assets.ts"
import { loadWasm, relaxedSimd } from "../../ts/backend/wasm/index.ts"
import { BackendUnavailableError } from "../../ts/errors.ts"
import { node } from "../../ts/platform/node.ts"
import type { SelectiveScanInput, SelectiveScanResult } from "../../ts/run/scan.ts"
import { type SelectiveScanOptions, scanOn } from "../../ts/run/scan-engine.ts"

const ways = {
  native: { backend: "native" },
  cuda: { backend: "cuda" },
  "cuda-emulated": { backend: "cuda" },
  wasm: { backend: "wasm", threads: 2 },
  "wasm-single": { backend: "wasm", threads: 1 },
  "wasm-direct": { backend: "wasm", worker: false },
} as const
export type Tested = keyof typeof ways

export const tested: Tested = (process.env.STATESPACE_TEST_BACKEND || "native") as Tested
/** Options with which `load` and `selectiveScan` take it. */
export const way: { backend: "native" | "cuda" | "wasm"; threads?: number; worker?: false } = ways[tested]
export const isCuda: boolean = way.backend === "cuda"
/** Whether it is in the native module. */
export const isNative: boolean = way.backend === "native" || isCuda
/** Whether it is the module with relaxed instructions. */
export const relaxed: boolean = !isNative && relaxedSimd()

async function emulated(): Promise<Backend> {
  const fixed = { executor: "cuda", emulated: true } as EngineOptions
  const backend = backendOf(loadAddon(), "cuda", fixed, translate)
  try {
    await (await backend.open()).dispose()
  } catch (cause) {
    const message = `The native module has no emulator of a GPU: ${(cause as Error).message}`
    throw new BackendUnavailableError("BACKEND_UNAVAILABLE", message, { backend: "cuda", fix: "Build it with --features emulate.", cause })
  }
  return { ...backend, info: () => ({ ...backend.info(), isas: [], devices: [] }) }
}

async function open(): Promise<Backend> {
  const { backend, ...options } = way
  if (tested === "cuda-emulated") return emulated()
  if (backend === "wasm") return loadWasm(options, assets)
  return backend === "cuda" ? loadCuda() : loadNative()
}
let opened: Promise<Backend> | undefined

/** The backend, made once. */
export function openBackend(): Promise<Backend> {
  opened ??= open()
  return opened
}

/** Why it is not there, or undefined. */
export async function backendMissing(): Promise<string | undefined> {
  try {
    await openBackend()
    return undefined
  } catch (error) {
    if (error instanceof BackendUnavailableError) return error.message
    throw error
  }
}

const platform = tested === "cuda-emulated" ? { ...node, backend: openBackend } : node

export const selectiveScan = (input: SelectiveScanInput, options: SelectiveScanOptions = {}): Promise<SelectiveScanResult> =>
  scanOn(platform, input, { ...way, ...options })
