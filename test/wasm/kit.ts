/** The wasm backend in each of its ways, and its Workers within reach. */
import { Worker } from "node:worker_threads"
import { beforeEach } from "vitest"
import type { Backend } from "../../ts/backend/interface.ts"
import { assets } from "../../ts/backend/wasm/assets.ts"
import { loadWasm, type WasmOptions } from "../../ts/backend/wasm/index.ts"
import { BackendUnavailableError } from "../../ts/errors.ts"
import type { Model } from "../../ts/run/model.ts"
import { openModelIn } from "../support/models.ts"

export const wasm = (options: WasmOptions = {}): Promise<Backend> => loadWasm(options, assets)

export const ways: [string, WasmOptions][] = [
  ["in Workers that share memory", { threads: 2 }],
  ["in a Worker alone", { threads: 1 }],
  ["in this thread", { worker: false }],
]

const missing = await wasm().then(
  () => undefined,
  (error: unknown) => {
    if (error instanceof BackendUnavailableError) return error.message
    throw error
  },
)
/** Skips the tests of a file where the artefacts are not built. */
export function needsWasm(): void {
  beforeEach((context) => {
    if (missing) context.skip(missing)
  })
}

/** A backend that shows the Workers it starts. */
export async function watched(threads: number = 1): Promise<{ backend: Backend; workers: Worker[] }> {
  const workers: Worker[] = []
  const worker = (): Worker => {
    const started = new Worker(assets.worker())
    workers.push(started)
    return started
  }
  return { backend: await wasm({ threads, worker }), workers }
}

/** The embedded model. */
export const embedded = (backend: Backend): Promise<Model> => openModelIn("models/rustbook-mamba1-2.8m", backend)
