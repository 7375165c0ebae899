/** What differs between Node and a browser, and nothing else. Entries hand one of the two to everything below them. */
import type { Backend, DeviceInfo, Engine } from "../backend/interface.ts"
import type { WasmOptions } from "../backend/wasm/index.ts"
import type { Checkpoint, CheckpointSource, SourceOptions } from "../io/types.ts"

export type BackendName = "auto" | "native" | "wasm" | "cuda"

export interface BackendStatus {
  name: string
  available: boolean
  /** Why not. */
  reason?: string
  /** What limits it here, for example why it runs on one thread. */
  note?: string
  /** Instruction sets that can be forced, best first. */
  isas?: string[]
  /** GPUs, as the driver counts them. */
  devices?: DeviceInfo[]
  /** Physical cores; in a browser the logical ones that it tells of. */
  cores?: number
}

/** Where the parts of a backend lie, and how many threads it gets. */
export interface BackendOptions extends WasmOptions {
  nativePath?: string | undefined
}

export interface Platform {
  name: "node" | "browser"
  /** What "auto" tries. */
  order: readonly Exclude<BackendName, "auto">[]
  /** Throws BackendUnavailableError with the reason. */
  backend(name: Exclude<BackendName, "auto">, options: BackendOptions): Promise<Backend>
  /** For `info()`, without loading more than it must. */
  status(name: Exclude<BackendName, "auto">): BackendStatus
  /** Whether the thread of an engine may read checkpoints, which then is opened before. */
  readsInEngine: boolean
  openCheckpoint(source: CheckpointSource | undefined, options: SourceOptions, engine?: Engine): Promise<Checkpoint>
  /** Default of `memoryLimit`, in bytes. */
  memory(): number
  warn(message: string, code: string): void
}
