/** Checkpoints in the caller's hands: the files of a folder, or a record of its parts. */
import { CheckpointError } from "../errors.ts"
import { notASource } from "./address.ts"
import { gathered, watched } from "./bytes.ts"
import { readFolder } from "./checkpoint.ts"
import type {
  BlobLike,
  Checkpoint,
  CheckpointFile,
  CheckpointParts,
  CheckpointSource,
  FileLike,
  FilePart,
  Folder,
  JsonPart,
  SourceOptions,
} from "./types.ts"

type Json = Readonly<Record<string, unknown>>
/** Finds the file that a path or an address names; undefined when there is none. */
export type FindPlace = (place: string | URL, options: SourceOptions) => Promise<CheckpointFile | undefined>

/** Bytes that are read at once. */
const pieceBytes = 2 ** 22

const isBlob = (value: unknown): value is BlobLike => {
  const blob = value as Partial<BlobLike> | null
  return typeof blob === "object" && typeof blob?.slice === "function" && typeof blob.arrayBuffer === "function"
}
const isBytes = (value: unknown): value is ArrayBuffer | Uint8Array => value instanceof ArrayBuffer || value instanceof Uint8Array
const isFiles = (value: unknown): value is ArrayLike<FileLike> =>
  typeof value === "object" && value !== null && "length" in value && Array.from(value as ArrayLike<unknown>).every(isBlob)
const isParts = (value: unknown): value is CheckpointParts =>
  typeof value === "object" && value !== null && "config" in value && "weights" in value

async function* blobPieces(blob: BlobLike, name: string, until: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < until; at += pieceBytes) {
    try {
      yield new Uint8Array(await blob.slice(at, Math.min(at + pieceBytes, until)).arrayBuffer())
    } catch (cause) {
      throw new CheckpointError("CHECKPOINT_READ", `${name} cannot be read (${(cause as Error).message}).`, {
        fix: "Choose the file again: it was moved, changed or deleted since.",
        cause,
      })
    }
  }
}

/** A `File` or `Blob`, read in pieces. */
function blobFile(blob: BlobLike, name: string, options: SourceOptions): CheckpointFile {
  return {
    name,
    bytes: blob.size,
    head: (length) => gathered(blobPieces(blob, name, Math.min(length, blob.size))),
    open: () => watched(blobPieces(blob, name, blob.size), { phase: "read", file: name, total: blob.size }, options),
    close: async () => {},
  }
}

function bytesFile(given: ArrayBuffer | Uint8Array, name: string): CheckpointFile {
  const data = given instanceof Uint8Array ? given : new Uint8Array(given)
  return {
    name,
    bytes: data.length,
    data,
    head: async (length) => data.subarray(0, length),
    async *open() {
      // Copies: whoever takes a stream may hand its pieces on for good, and these bytes are the caller's.
      for (let at = 0; at < data.length; at += pieceBytes) yield data.slice(at, at + pieceBytes)
    },
    readNow: (offset, length) => data.subarray(offset, offset + length),
    close: async () => {},
  }
}

/** The files of a folder as a page gets them. A dropped folder may hold more than the checkpoint: its shallowest config.json says where that is. */
function readFiles(files: readonly FileLike[], options: SourceOptions, taken: (label: string) => string): Promise<Checkpoint> {
  const paths = new Map(files.map((file) => [file.webkitRelativePath || file.name, file]))
  const depth = (path: string): number => path.split("/").length
  const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1)
  const [first] = [...paths.keys()].filter((path) => nameOf(path) === "config.json").sort((a, b) => depth(a) - depth(b))
  const prefix = first?.slice(0, first.length - "config.json".length) ?? ""
  const inside = new Map([...paths].filter(([path]) => path === prefix + nameOf(path)).map(([path, file]) => [nameOf(path), file]))
  const weights = [...inside.keys()].filter((name) => name.endsWith(".safetensors"))
  const whole =
    !inside.has("model.safetensors") && !inside.has("model.safetensors.index.json") && weights.length === 1 ? weights[0] : undefined
  const name = prefix.split("/").at(-2) ?? (whole ?? "model.safetensors").replace(/\.safetensors$/, "")
  const where = prefix === "" ? "the files given" : prefix.slice(0, -1)
  const folder: Folder = {
    where,
    nameOf: (file) => prefix + file,
    find: async (file) => {
      const found = inside.get(file)
      return found === undefined ? undefined : blobFile(found, prefix + file, options)
    },
    list: async () => [...inside.keys()],
  }
  return readFolder(folder, name, taken(prefix === "" ? "files" : `files of ${where}`), whole)
}

const fileNames = {
  config: "config.json",
  tokenizer: "tokenizer.json",
  tokenizerConfig: "tokenizer_config.json",
  generationConfig: "generation_config.json",
} as const

/** A checkpoint in parts: each is found where it lies, or is here already. */
function readParts(parts: CheckpointParts, options: SourceOptions, find: FindPlace, taken: (label: string) => string): Promise<Checkpoint> {
  const { name = "model" } = parts
  const weights = Array.isArray(parts.weights) ? (parts.weights as readonly FilePart[]) : [parts.weights as FilePart]
  const shards = weights.map((_part, i) => (weights.length === 1 ? "model.safetensors" : `model-${i + 1}-of-${weights.length}.safetensors`))
  const given = new Map<string, JsonPart>(shards.map((file, i) => [file, weights[i] as FilePart]))
  const parsed = new Map<string, Json>()
  for (const [part, file] of Object.entries(fileNames)) {
    const value = parts[part as keyof typeof fileNames]
    if (value === undefined) continue
    if (typeof value === "string" || value instanceof URL || isBlob(value) || isBytes(value)) given.set(file, value)
    else parsed.set(file, value as Json)
  }
  const folder: Folder = {
    where: `the checkpoint ${name}`,
    nameOf: (file) => {
      const part = given.get(file)
      return typeof part === "string" || part instanceof URL ? String(part) : `${name}/${file}`
    },
    find: async (file) => {
      const part = given.get(file)
      if (part === undefined) return undefined
      if (isBlob(part)) return blobFile(part, `${name}/${file}`, options)
      if (isBytes(part)) return bytesFile(part, `${name}/${file}`)
      if (typeof part !== "string" && !(part instanceof URL)) throw notASource(part)
      const found = await find(part, options)
      if (found !== undefined) return found
      throw new CheckpointError("CHECKPOINT_NOT_FOUND", `${part} does not exist.`, { fix: `It was given as ${file} of ${name}.` })
    },
    list: async () => [...given.keys()],
    parsed,
  }
  return readFolder(folder, name, taken(`checkpoint ${name}`), shards)
}

/**
 * Reads a checkpoint that is handed over instead of named.
 * @throws CheckpointError, TokenizerError, OptionError; HubError where a part lies behind an address
 */
export function openGiven(source: CheckpointSource, options: SourceOptions, find: FindPlace): Promise<Checkpoint> {
  const taken = (label: string): string => {
    options.onProgress?.({ phase: "source", file: label, loaded: 0 })
    return label
  }
  if (isBytes(source) || isBlob(source)) {
    const what = isBytes(source) ? `${source.byteLength} bytes` : `The file ${(source as FileLike).name ?? ""}`
    throw new CheckpointError("CHECKPOINT_CONFIG", `${what} alone: weights do not say what model they are of.`, {
      fix: "Pass { config, weights } (tokenizer if there is one), or all files of the folder as an array.",
    })
  }
  if (isFiles(source)) return readFiles(Array.from(source), options, taken)
  if (isParts(source)) return readParts(source, options, find, taken)
  throw notASource(source)
}
