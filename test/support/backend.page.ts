/** `backend.ts` in a page: the wasm backend as a page gets it, with threads where it is isolated. */

import type { Backend } from "../../ts/backend/interface.ts"
import { assets } from "../../ts/backend/wasm/assets.ts"
import { loadWasm } from "../../ts/backend/wasm/index.ts"
import { selectiveScan } from "../../ts/ops-web.ts"

export const tested = "wasm"
export const way: { backend: "native" | "wasm"; threads?: number; worker?: false } = { backend: "wasm", threads: 2 }
export const isNative = false
export { selectiveScan }

let opened: Promise<Backend> | undefined
export function openBackend(): Promise<Backend> {
  opened ??= loadWasm({ threads: 2 }, assets)
  return opened
}
export const backendMissing = async (): Promise<string | undefined> => undefined
