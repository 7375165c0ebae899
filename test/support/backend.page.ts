/**
 * `backend.ts` in a page: the wasm backend as a page gets it, with threads where it is isolated. With `?plain` in its address it takes the module
 * for engines that lack relaxed instructions.
 */
import type { Backend } from "../../ts/backend/interface.ts"
import { assets } from "../../ts/backend/wasm/assets.ts"
import { loadWasm } from "../../ts/backend/wasm/index.ts"
import { selectiveScan as scan } from "../../ts/ops-web.ts"
import type { SelectiveScanInput, SelectiveScanResult } from "../../ts/run/scan.ts"
import type { SelectiveScanOptions } from "../../ts/run/scan-engine.ts"

const { crossOriginIsolated, location } = globalThis as unknown as { crossOriginIsolated: boolean; location: { search: string } }
/** What this Chromium takes unless told otherwise is what its users get: a probe that failed would show. */
export const relaxed: boolean = location.search !== "?plain"

export const tested = "wasm"
export const way: { backend: "native" | "wasm"; threads?: number; worker?: false; wasm?: URL } = {
  backend: "wasm",
  threads: 2,
  ...(!relaxed && { wasm: assets.wasm(crossOriginIsolated, false) }),
}
export const isCuda = false
export const isNative = false

let opened: Promise<Backend> | undefined
export function openBackend(): Promise<Backend> {
  opened ??= loadWasm(way, assets)
  return opened
}
export const backendMissing = async (): Promise<string | undefined> => undefined

export const selectiveScan = (input: SelectiveScanInput, options: SelectiveScanOptions = {}): Promise<SelectiveScanResult> =>
  scan(input, { ...way, ...options })
