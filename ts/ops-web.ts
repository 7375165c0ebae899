/// <reference lib="esnext.disposable" preserve="true" />
/** `statespace/ops` for browsers. */
import { assets } from "./backend/wasm/assets.ts"
import { browser } from "./platform/browser.ts"
import type { SelectiveScanInput, SelectiveScanResult } from "./run/scan.ts"
import { type SelectiveScanOptions, scanOn } from "./run/scan-engine.ts"

export type { BackendName } from "./run/backends.ts"
export type { ScanArray, ScanData, SelectiveScanInput, SelectiveScanResult } from "./run/scan.ts"
export type { SelectiveScanOptions } from "./run/scan-engine.ts"
export type { NumericArray } from "./run/types.ts"

const platform = browser(assets)

/** `selectiveScan` of `statespace/ops`, in a page. */
export function selectiveScan(input: SelectiveScanInput, options?: SelectiveScanOptions): Promise<SelectiveScanResult> {
  return scanOn(platform, input, options)
}
