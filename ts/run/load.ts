/** `load()`: from a name to a model that runs. */
import { readFile } from "node:fs/promises"
import { TokenizerError } from "../errors.ts"
import { openCheckpoint } from "../io/source.ts"
import { Tokenizer } from "../io/tokenizer.ts"
import type { Family } from "../models/family.ts"
import { checkOptions, type OptionRule } from "../options.ts"
import { type BackendName, chooseBackend } from "./backends.ts"
import { type Model, openModel } from "./model.ts"
import type { Progress } from "./types.ts"

export interface LoadOptions {
  /** "auto" (default) takes the best backend of this machine: "native" in this release. */
  backend?: BackendName
  /** "bf16" rounds the inputs of matrix products to bf16, as GPU runs of these models do. Default "f32". */
  compute?: "f32" | "bf16"
  /** Default: physical cores. Results do not depend on it. */
  threads?: number
  /** Instead of the folder's: a tokenizer, the path of a tokenizer.json, or null for none. */
  tokenizer?: Tokenizer | string | null
  /** Families besides the built-in ones, tried first. */
  models?: readonly Family[]
  /** Branch, tag or commit of a hub repository. Default "main". */
  revision?: string
  /** Hub access token. Default: HF_TOKEN, or what `hf auth login` stored. */
  token?: string
  /** Default: that of Python's huggingface_hub. */
  cacheDir?: string
  /** Use what is in the cache and never ask the network. */
  localFilesOnly?: boolean
  /** Path of the native addon, where it is not found by itself (environment: STATESPACE_NATIVE). */
  nativePath?: string
  /** Map the weights (default) instead of copying them. A mapped file must not be truncated while the model lives. */
  mmap?: boolean
  /** Bytes that programs, states and results may take. Default: half of the machine's memory. */
  memoryLimit?: number
  /** Sizes in bytes. */
  onProgress?: (progress: Progress) => void
  signal?: AbortSignal
  /** No warning on standard error when a backend falls back. */
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
  cacheDir: { type: "string" },
  localFilesOnly: { type: "boolean" },
  nativePath: { type: "string" },
  mmap: { type: "boolean" },
  memoryLimit: { type: "number", above: 0 },
  onProgress: { type: "function" },
  signal: { type: "signal" },
  quiet: { type: "boolean" },
}

async function tokenizerOf(given: LoadOptions["tokenizer"]): Promise<Tokenizer | null | undefined> {
  if (typeof given !== "string") return given
  try {
    return new Tokenizer(JSON.parse(await readFile(given, "utf8")), {}, given)
  } catch (cause) {
    if (cause instanceof TokenizerError) throw cause
    throw new TokenizerError("TOKENIZER_INVALID", `${given} cannot be read as a tokenizer.`, {
      fix: "Give the path of a tokenizer.json.",
      cause,
    })
  }
}

/** `load` of the public entry, which knows the built-in `families`. */
export async function loadFrom(families: readonly Family[], source?: string | URL, options: LoadOptions = {}): Promise<Model> {
  checkOptions("load", options, table)
  const { revision, token, cacheDir, localFilesOnly, onProgress, signal, threads, compute, mmap, memoryLimit, models = [] } = options
  signal?.throwIfAborted()
  const tokenizer = await tokenizerOf(options.tokenizer)
  const backend = chooseBackend(options.backend, options.nativePath)
  const checkpoint = await openCheckpoint(source, { revision, token, cacheDir, localFilesOnly, onProgress, signal })
  const model = await openModel({
    checkpoint,
    families: [...models, ...families],
    backend,
    tokenizer,
    compute,
    mmap,
    memoryLimit,
    engine: { threads },
  })
  if (signal?.aborted) {
    await model.dispose()
    throw signal.reason
  }
  return model
}
