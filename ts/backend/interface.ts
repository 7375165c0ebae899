/**
 * The seam between TypeScript and an engine: few verbs over plan text and bytes, the same for every backend. Everything above it (shapes,
 * models, sampling options, state files) is TypeScript; everything below it (arithmetic, memory, threads) is not. Calls on one engine run
 * in the order they were made; a caller need not await one to make the next.
 */
import type { PlanIssue } from "../errors.ts"
import type { DType } from "../plan/types.ts"

/** Where a tensor of a checkpoint lies. `offset` is from the start of the file. */
export interface TensorSource {
  name: string
  file: number
  offset: number
  bytes: number
  dtype: DType
  shape: number[]
}
/**
 * A file that arrives piece by piece, in order, and is opened once. Its pieces are given away: an engine in another thread takes those that
 * own their memory instead of copying them.
 */
export interface FileStream {
  /** Length of the whole. */
  bytes: number
  /** Each piece is lent instead, until the next is asked for. */
  lent?: boolean | undefined
  open(): AsyncIterable<Uint8Array>
}
/** `files` are paths (native only), bytes, or streams (wasm only); `mmap: false` copies instead of mapping. */
export interface WeightsSource {
  files: (string | Uint8Array | FileStream)[]
  tensors: TensorSource[]
  mmap?: boolean
}

export interface EngineOptions {
  /** "cpu" (default), "cuda" (an NVIDIA GPU) or "reference" (fp64, slow on purpose). */
  executor?: "cpu" | "cuda" | "reference"
  /** Index of the GPU. Default: the first. */
  device?: number
  threads?: number
  /** Force an instruction set: "avx512bf16" | "avx512" | "avx2" | "neon" | "relaxed-simd" | "simd128" | "scalar". */
  isa?: string
  /** "flat": no two buffers share bytes (hunting mode). */
  memory?: "planned" | "flat"
  /** Poison dead ranges with NaN and check 64-byte guards after every node. */
  guard?: boolean
  /** Keep every node's output, readable as `node.{id}.{output index}`. */
  dump?: boolean
}
/** A GPU. */
export interface DeviceInfo {
  /** As the driver counts. */
  index: number
  name: string
  /** Bytes of its memory. */
  memory: number
  /** Bytes of it that were free when an engine opened it. */
  free?: number
  /** Compute capability, such as "9.0". */
  capability: string
  /** Version of CUDA that its driver is for, such as "13.0". */
  driver: string
}
export interface BackendInfo {
  name: string
  version: string
  opset: string
  isas: string[]
  cores: number
  /** GPUs, of a backend that runs on them. */
  devices?: DeviceInfo[]
}
export interface EngineInfo {
  /** Instruction set; "sm_90" and the like on a GPU. */
  isa: string
  threads: number
  /** The GPU that it runs on. */
  device?: DeviceInfo
  /** On a GPU: what lies there. */
  bytes: { weights: number; temp: number; state: number; io: number; scratch: number }
}

declare const handle: unique symbol
export type WeightsHandle = number & { [handle]: "weights" }
export type ProgramHandle = number & { [handle]: "program" }
export type StateHandle = number & { [handle]: "state" }

export interface Backend {
  readonly name: string
  info(): BackendInfo
  /** Findings of the validator; empty when the plan is good. */
  check(plan: string): PlanIssue[]
  open(options?: EngineOptions): Promise<Engine>
}

/** A tokenizer in a thread of its own. */
export interface AsyncEncoder {
  encode(text: string): Promise<Int32Array>
}

/** What a thread that reads for another asks and tells the other meanwhile. */
export interface Asker {
  tell(verb: string, args: readonly unknown[], transfer?: ArrayBuffer[]): void
  ask(verb: string, args: readonly unknown[], transfer?: ArrayBuffer[]): Promise<unknown>
}
export type Answer = (verb: string, args: readonly unknown[]) => unknown
/** A checkpoint that a thread has read for another, in that thread. */
export interface Reading {
  /** What the other gets, as data; `transfer` is of it. */
  found: object
  transfer: ArrayBuffer[]
  /** Ids of a text, where it has a tokenizer. */
  encode(text: string): ArrayLike<number>
  /** The weights of these tensors, where they lie in these files; `edges` are known, by file, once they were read. */
  handOver(tensors: readonly TensorSource[]): Promise<WeightsSource & { edges(): Uint8Array[]; close(): Promise<void> }>
}
/** The same seen from the other thread. */
export interface HeldCheckpoint {
  readonly found: unknown
  readonly encoder: AsyncEncoder
  /** Brings the weights of these tensors to their place in the engine, once. */
  weights(tensors: readonly TensorSource[]): Promise<{ weights: WeightsHandle; edges: Uint8Array[] }>
  /** Lets go of what was not brought to its end. */
  close(): void
}

export interface Engine {
  info(): EngineInfo
  /** Bytes are copied before the call returns; streams are read one after the other. */
  weights(source: WeightsSource): Promise<WeightsHandle>
  /** Name of the first tensor (in order of the source) that holds a NaN or an infinity, or null. */
  firstNonFinite(weights: WeightsHandle): Promise<string | null>
  /** Validates, binds weights, makes derived ones, allocates `io`. `weights` may be null when the plan has none. */
  load(plan: string, weights: WeightsHandle | null): Promise<ProgramHandle>
  /** Zero-filled state with the layout of that program; usable with every program of equal layout. */
  state(program: ProgramHandle): Promise<StateHandle>
  /**
   * Runs the nodes `steps` times. An abort is seen between nodes, and within heavy ones, and rejects with the signal's reason; the state is
   * then unspecified (the caller restores its copy). `state` is null for plans without state.
   */
  run(program: ProgramHandle, state: StateHandle | null, options?: { steps?: number; signal?: AbortSignal | undefined }): Promise<void>
  copyState(to: StateHandle, from: StateHandle): Promise<void>
  /** Bytes of a named input, output, state buffer, or with `dump` of a node's output (dense, views packed). */
  read(target: ProgramHandle | StateHandle, name: string): Promise<Uint8Array>
  /** `bytes` may be shorter than the buffer: a prefix is written. Copied before the call returns. */
  write(target: ProgramHandle | StateHandle, name: string, bytes: Uint8Array): Promise<void>
  release(handle: WeightsHandle | ProgramHandle | StateHandle): void
  /**
   * Offered by an engine with a thread that can do it: the tokenizer of a parsed `tokenizer.json` and `tokenizer_config.json`. Encoding does
   * not wait for the calls before it.
   */
  tokenizer?(json: object, config: object): Promise<AsyncEncoder>
  /**
   * Offered by an engine with a thread that reads checkpoints itself. `answer` is asked by it, also while weights are brought. An abort rejects
   * this call and that of the weights with the signal's reason.
   */
  hold?(request: object, answer: Answer, signal: AbortSignal): Promise<HeldCheckpoint>
  /** Drains, frees, and makes later calls reject with DisposedError. */
  dispose(): Promise<void>
}
