/**
 * The backend under test: `STATESPACE_TEST_BACKEND` is `native` (default), `wasm` (Workers that share memory), `wasm-single` (one Worker, no
 * shared memory) or `wasm-direct` (no Worker). `backend.page.ts` is its twin in a page.
 */
import type { Backend } from "../../ts/backend/interface.ts"
import { loadNative } from "../../ts/backend/native.ts"
import { assets } from "../../ts/backend/wasm/assets.ts"
import { loadWasm, relaxedSimd } from "../../ts/backend/wasm/index.ts"
import { BackendUnavailableError } from "../../ts/errors.ts"
import { selectiveScan as scan } from "../../ts/ops.ts"
import type { SelectiveScanInput, SelectiveScanResult } from "../../ts/run/scan.ts"
import type { SelectiveScanOptions } from "../../ts/run/scan-engine.ts"

const ways = {
  native: { backend: "native" },
  wasm: { backend: "wasm", threads: 2 },
  "wasm-single": { backend: "wasm", threads: 1 },
  "wasm-direct": { backend: "wasm", worker: false },
} as const
export type Tested = keyof typeof ways

export const tested: Tested = (process.env.STATESPACE_TEST_BACKEND || "native") as Tested
/** Options with which `load` and `selectiveScan` take it. */
export const way: { backend: "native" | "wasm"; threads?: number; worker?: false } = ways[tested]
export const isNative: boolean = way.backend === "native"
/** Whether it is the module with relaxed instructions. */
export const relaxed: boolean = !isNative && relaxedSimd()

async function open(): Promise<Backend> {
  const { backend, ...options } = way
  return backend === "native" ? loadNative() : loadWasm(options, assets)
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

export const selectiveScan = (input: SelectiveScanInput, options: SelectiveScanOptions = {}): Promise<SelectiveScanResult> =>
  scan(input, { ...way, ...options })
