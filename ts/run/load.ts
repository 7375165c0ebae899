/** `load()`: from a name to a model that runs. */
import type { Backend } from "../backend/interface.ts"
import type { WasmOptions } from "../backend/wasm/index.ts"
import { BackendUnavailableError, MemoryLimitError } from "../errors.ts"
import type { Tokenizer } from "../io/tokenizer.ts"
import type { Checkpoint, CheckpointSource } from "../io/types.ts"
import type { Family } from "../models/family.ts"
import { checkOptions, type OptionRule } from "../options.ts"
import type { BackendName, Platform } from "../platform/types.ts"
import { chooseBackend } from "./backends.ts"
import { type Model, openModel } from "./model.ts"
import type { Progress } from "./types.ts"

export interface LoadOptions {
  /** "auto" (default) takes the best backend that is there: cuda if the model fits on the GPU, then native, then wasm; in a browser wasm. */
  backend?: BackendName
  /**
   * "bf16" rounds the inputs of matrix products to bf16, as GPU runs of these models do. Default "f32"; on cuda "bf16" for weights of 16 bits.
   */
  compute?: "f32" | "bf16"
  /** Default: physical cores. Results do not depend on it. */
  threads?: number
  /** Instead of the folder's: a tokenizer, the path or address of a tokenizer.json, or null for none. */
  tokenizer?: Tokenizer | string | null
  /** Families besides the built-in ones, tried first. */
  models?: readonly Family[]
  /** Branch, tag or commit of a hub repository. Default "main". */
  revision?: string
  /** Hub access token. Default: HF_TOKEN, or what `hf auth login` stored. */
  token?: string
  /** Address of the hub. Default: HF_ENDPOINT, else https://huggingface.co. */
  endpoint?: string
  /**
   * Where downloads are kept: a folder (default: that of Python's huggingface_hub), in a browser the name of a cache of the page (default
   * "statespace"). false keeps nothing: what is downloaded goes to memory alone.
   */
  cacheDir?: string | false
  /** Use what is in the cache and never ask the network. */
  localFilesOnly?: boolean
  /** Path of the native addon, where it is not found by itself (environment: STATESPACE_NATIVE). */
  nativePath?: string
  /** The WebAssembly module, where it is not found by itself: its URL, a Response, its bytes, or a WebAssembly.Module. */
  wasm?: WasmOptions["wasm"]
  /** The Worker's script or a function that starts it, where it is not found by itself; false computes in this thread, which then is not free. */
  worker?: WasmOptions["worker"]
  /** Map the weights (default) instead of copying them. A mapped file must not be truncated while the model lives. */
  mmap?: boolean
  /**
   * Bytes that programs, states and results may take. Default: half of the machine's memory; on wasm at most 4 GiB with the weights, on cuda
   * what the weights leave of the GPU.
   */
  memoryLimit?: number
  /** Sizes in bytes. */
  onProgress?: (progress: Progress) => void
  signal?: AbortSignal
  /** No warning when "auto" has to take a slower backend. */
  quiet?: boolean
}

const table: Record<keyof LoadOptions, OptionRule | OptionRule[]> = {
  backend: { type: "string", values: ["auto", "native", "wasm", "cuda"] },
  compute: { type: "string", values: ["f32", "bf16"] },
  threads: { type: "number", integer: true, min: 1, max: 1024 },
  tokenizer: { type: "any" },
  models: { type: "array" },
  revision: { type: "string" },
  token: { type: "string" },
  endpoint: { type: "string" },
  cacheDir: [{ type: "string" }, { type: "boolean" }],
  localFilesOnly: { type: "boolean" },
  nativePath: { type: "string" },
  wasm: { type: "any" },
  worker: { type: "any" },
  mmap: { type: "boolean" },
  memoryLimit: { type: "number", above: 0 },
  onProgress: { type: "function" },
  signal: { type: "signal" },
  quiet: { type: "boolean" },
}

/** `load` of the public entries, each of which knows its platform, and all the built-in `families`. */
export async function loadFrom(
  platform: Platform,
  families: readonly Family[],
  source: CheckpointSource | undefined,
  options: LoadOptions = {},
): Promise<Model> {
  checkOptions("load", options, table)
  const { threads, compute, mmap, memoryLimit, nativePath, wasm, worker, quiet, signal, models = [] } = options
  const { revision, token, endpoint, cacheDir, localFilesOnly, onProgress } = options
  const [place, tokenizer] = typeof options.tokenizer === "string" ? [options.tokenizer] : [undefined, options.tokenizer]
  const reading = { revision, token, endpoint, cacheDir, localFilesOnly, onProgress, signal, tokenizer: place }
  signal?.throwIfAborted()
  const places = { nativePath, wasm, worker, threads, quiet }
  const backend = await chooseBackend(platform, options.backend, places)
  const engine = { threads }
  // Where the engine's thread reads the checkpoint it must be there first.
  const opened = platform.readsInEngine ? await backend.open(engine) : undefined
  let checkpoint: Checkpoint | undefined
  try {
    checkpoint = await platform.openCheckpoint(source, reading, opened)
    const parts = { checkpoint, families: [...models, ...families], tokenizer, compute, mmap, memoryLimit, memory: platform.memory() }
    const open = (on: Backend): Promise<Model> => openModel({ ...parts, backend: on, engine, opened })
    const model = await open(backend).catch(async (error: unknown) => {
      // The GPU is taken if it is free and the model fits there.
      const isElsewhere = error instanceof MemoryLimitError || error instanceof BackendUnavailableError
      if (!isElsewhere || backend.name !== "cuda" || options.backend === "cuda") throw error
      return open(await chooseBackend(platform, "auto", places, { cuda: error }))
    })
    if (!signal?.aborted) return model
    await model.dispose()
    throw signal.reason
  } catch (error) {
    await opened?.dispose()
    throw error
  } finally {
    // What was opened and not read to its end would keep its connection.
    for (const file of checkpoint?.files ?? []) await file.close()
    checkpoint?.held?.close()
  }
}
