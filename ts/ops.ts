/// <reference lib="esnext.disposable" preserve="true" />
/** The scan itself, on typed arrays. */
import { node } from "./platform/node.ts"
import type { SelectiveScanInput, SelectiveScanResult } from "./run/scan.ts"
import { type SelectiveScanOptions, scanOn } from "./run/scan-engine.ts"

export type { BackendName } from "./run/backends.ts"
export type { ScanArray, ScanData, SelectiveScanInput, SelectiveScanResult } from "./run/scan.ts"
export type { SelectiveScanOptions } from "./run/scan-engine.ts"
export type { NumericArray } from "./run/types.ts"

/**
 * The selective scan (arXiv 2312.00752, algorithm 2): with s = delta + deltaBias and Δ = softplus(s) or s,
 *
 *     h[n] ← exp(Δ · A[n]) · h[n] + Δ · B[n] · u        out = (Σₙ C[n] · h[n] + D · u) · silu(z)
 *
 * for every channel and step, in f32. Channels are split into `groups` equal blocks that share B and C; their number follows from the size
 * of B. Arrays are f32, or bf16 as `Uint16Array`; a length of 0 gives an empty `out` and the initial state.
 *
 * @throws OptionError for arrays that do not fit together, BackendUnavailableError; the signal's reason when aborted
 */
export function selectiveScan(input: SelectiveScanInput, options?: SelectiveScanOptions): Promise<SelectiveScanResult> {
  return scanOn(node, input, options)
}
