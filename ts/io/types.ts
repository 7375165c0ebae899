/** What a checkpoint can be made of, and its files wherever they lie: on this machine, in memory, behind an address. */
import type { HeldCheckpoint, TensorSource } from "../backend/interface.ts"
import type { Tokenizer } from "./tokenizer.ts"

type Json = Record<string, unknown>

/** What `onProgress` hears. `source` says once where the checkpoint is taken from; sizes in bytes, `total` while it is known. */
export interface Progress {
  /** `download`: from the network; `read`: from the cache, a `File` or memory into the engine. */
  phase: "source" | "download" | "read"
  file: string
  loaded: number
  total?: number
}

export interface SourceOptions {
  /** Branch, tag or commit of a hub repository; the same as `@revision` after its id. */
  revision?: string
  /** Hub access token; otherwise `HF_TOKEN`. */
  token?: string
  /** Address of the hub; otherwise `HF_ENDPOINT`. */
  endpoint?: string
  /** Cache folder (Node) or name of the cache (browser); false keeps nothing. */
  cacheDir?: string | false
  /** Never ask the network. */
  localFilesOnly?: boolean
  /** Path or address of a tokenizer.json, instead of the checkpoint's own. */
  tokenizer?: string
  onProgress?: (progress: Progress) => void
  signal?: AbortSignal
}

/** A `Blob`, by what is used of it. */
export interface BlobLike {
  readonly size: number
  slice(start?: number, end?: number): BlobLike
  arrayBuffer(): Promise<ArrayBuffer>
}
/** A `File`, by what is used of it. In a dropped folder `webkitRelativePath` says where it lies. */
export interface FileLike extends BlobLike {
  readonly name: string
  readonly webkitRelativePath?: string
}

/** One file: where it lies, or its bytes. */
export type FilePart = string | URL | BlobLike | ArrayBuffer | Uint8Array
/** A JSON file, or what it holds, parsed. */
export type JsonPart = FilePart | Readonly<Record<string, unknown>>

/** A checkpoint file by file, for weights that lie somewhere else than their configuration. */
export interface CheckpointParts {
  /** Short name of the model. */
  name?: string
  /** `config.json` */
  config: JsonPart
  /** One `.safetensors` file, or all shards. */
  weights: FilePart | readonly FilePart[]
  /** `tokenizer.json`; without it the model works on ids. */
  tokenizer?: JsonPart
  /** `tokenizer_config.json` */
  tokenizerConfig?: JsonPart
  /** `generation_config.json` */
  generationConfig?: JsonPart
}

/**
 * What `load` takes: a path, URL or hub id; the files of a folder (a `FileList`, or an array of `File`); a checkpoint in parts. One
 * `File`, `ArrayBuffer` or `Uint8Array` alone is refused, since weights say nothing without their config.
 */
export type CheckpointSource = string | URL | ArrayLike<FileLike> | FileLike | ArrayBuffer | Uint8Array | CheckpointParts

/** A file of bytes that can be read from its start, any number of times. */
export interface CheckpointFile {
  /** For messages: its path, its address, or its name. */
  readonly name: string
  /** Undefined while nobody knows: a server need not say. */
  readonly bytes: number | undefined
  /** Where this machine can map it. */
  readonly path?: string
  /** Whether the pieces of `open` are lent until the next is asked for; otherwise they are the reader's. */
  readonly lent?: boolean
  /** All of it, where it is in memory already. */
  readonly data?: Uint8Array
  /** The bytes [0, length); fewer when the file ends before. What was read is kept for `open`. */
  head(length: number): Promise<Uint8Array>
  /** All bytes in order. */
  open(): AsyncIterable<Uint8Array>
  /** Any bytes at once, where that needs no waiting. */
  readNow?(offset: number, length: number): Uint8Array
  /** Lets go of what `head` holds. */
  close(): Promise<void>
}

/** The files of one checkpoint. */
export interface Folder {
  /** Its path or address, for messages. */
  readonly where: string
  /** Full name of a file, for messages. */
  nameOf(file: string): string
  /** Undefined when there is no such file. */
  find(file: string): Promise<CheckpointFile | undefined>
  /** Names of all files, where they can be listed. */
  list(): Promise<readonly string[]>
  /** JSON files whose content is given instead. */
  readonly parsed?: ReadonlyMap<string, Readonly<Json>>
}

/** A tensor of the checkpoint whose dtype no engine reads. An error only once a model needs it. */
export interface UnsupportedTensor {
  name: string
  /** As the file spells it, for example `F8_E4M3`. */
  dtype: string
  shape: number[]
  /** Name of its file. */
  file: string
}

export interface Checkpoint {
  /** Short name: the folder's, or `owner/name`. */
  readonly name: string
  /** Where it came from, for people: `embedded model …`, `folder …`, `owner/name@revision`. */
  readonly label: string
  /** `config.json` as it stands; `Infinity` and `NaN` literals are read as numbers. */
  readonly config: Readonly<Json>
  /** `generation_config.json`, or empty. */
  readonly generationConfig: Readonly<Json>
  /** The weight files; `TensorSource.file` indexes them. None where the thread of an engine holds them. */
  readonly files: readonly CheckpointFile[]
  readonly held?: HeldCheckpoint | undefined
  /** Size of all weight files. */
  readonly weightBytes: number
  readonly tensors: readonly TensorSource[]
  readonly unsupported: readonly UnsupportedTensor[]
  readonly tokenizer: Tokenizer | undefined
  /** What the tokenizer was made of, for making it again in another thread. */
  readonly tokenizerFiles?: { json: object; config: object } | undefined
  /** Why there is no tokenizer. */
  readonly tokenizerMissing: string | undefined
}
