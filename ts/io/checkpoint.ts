/**
 * A checkpoint folder on this machine, read as data: configurations, tensor table, tokenizer. Nothing in it is executed, and weights stay
 * in their files.
 */
import { readdir, readFile, stat } from "node:fs/promises"
import { basename, dirname, join, resolve } from "node:path"
import type { TensorSource } from "../backend/interface.ts"
import { CheckpointError, TokenizerError } from "../errors.ts"
import { withFile } from "./file.ts"
import { parseLenientJson } from "./json.ts"
import { engineDtype, readTable, type StoredTensor } from "./safetensors.ts"
import { Tokenizer } from "./tokenizer.ts"

type Json = Record<string, unknown>

/** A tensor of the checkpoint whose dtype no engine reads. An error only once a model needs it. */
export interface UnsupportedTensor {
  name: string
  /** As the file spells it, for example `F8_E4M3`. */
  dtype: string
  shape: number[]
  /** Path of its file. */
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
  /** Absolute paths of the weight files; `TensorSource.file` indexes them. */
  readonly files: readonly string[]
  readonly tensors: readonly TensorSource[]
  readonly unsupported: readonly UnsupportedTensor[]
  readonly tokenizer: Tokenizer | undefined
  /** Why there is no tokenizer. */
  readonly tokenizerMissing: string | undefined
}

/** Dtypes that weights may have. */
const weightDtypes: ReadonlySet<string> = new Set(["f32", "bf16", "f16"])

const isRecord = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)
const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException | null)?.code

/** Text of a small file, or undefined when there is none. */
async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8")
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return undefined
    throw new CheckpointError("CHECKPOINT_READ", `${path} cannot be read (${codeOf(cause) ?? String(cause)}).`, {
      fix: codeOf(cause) === "EISDIR" ? "It must be a file, not a folder." : "Check the path and its permissions.",
      cause,
    })
  }
}

/** Parsed JSON object of a file, or undefined when there is none. */
async function readObject(path: string, code: string): Promise<Json | undefined> {
  const text = await readText(path)
  if (text === undefined) return undefined
  let value: unknown
  let cause: unknown
  try {
    value = parseLenientJson(text)
  } catch (error) {
    cause = error
  }
  if (isRecord(value)) return value
  const reason = cause === undefined ? "is not a JSON object" : `is not valid JSON (${(cause as Error).message})`
  throw new CheckpointError(code, `${path} ${reason}.`, { fix: "Download the file again.", cause })
}

/** Files of a sharded checkpoint and the file that each tensor is listed in. */
async function readIndex(folder: string): Promise<Map<string, string> | undefined> {
  const path = join(folder, "model.safetensors.index.json")
  const index = await readObject(path, "CHECKPOINT_INDEX")
  if (index === undefined) return undefined
  const map = index.weight_map
  const fail = (reason: string): CheckpointError =>
    new CheckpointError("CHECKPOINT_INDEX", `${path}: ${reason}.`, {
      fix: "Download the checkpoint again, index and all shards from one revision.",
    })
  if (!isRecord(map) || Object.keys(map).length === 0) throw fail("it has no weight_map")
  for (const [name, file] of Object.entries(map)) {
    // A name with a separator could lead out of the folder.
    if (typeof file !== "string" || !/^[^/\\]+\.safetensors$/.test(file) || file.includes("..")) {
      throw fail(`tensor ${JSON.stringify(name)} names the file ${JSON.stringify(file)}, which is not a file of this folder`)
    }
  }
  return new Map(Object.entries(map) as [string, string][])
}

async function readTensors(path: string): Promise<StoredTensor[]> {
  return (await withFile(path, readTable)).tensors
}

/** Tables of all shards, checked against the index: listed means present in that file, and nothing else is there. */
async function readShards(folder: string, index: Map<string, string>): Promise<[string, StoredTensor[]][]> {
  const shards: [string, StoredTensor[]][] = []
  const seen = new Set<string>()
  for (const file of [...new Set(index.values())].sort()) {
    const path = join(folder, file)
    const tensors = await readTensors(path)
    for (const { name } of tensors) {
      seen.add(name)
      if (index.get(name) === file) continue
      const listed = index.get(name)
      throw new CheckpointError(
        "CHECKPOINT_INDEX",
        `${path} holds the tensor ${JSON.stringify(name)}, which the index ${listed === undefined ? "does not list" : `puts in ${listed}`}.`,
        { fix: "Download the checkpoint again, index and all shards from one revision." },
      )
    }
    shards.push([path, tensors])
  }
  for (const [name, file] of index) {
    if (seen.has(name)) continue
    throw new CheckpointError("CHECKPOINT_INDEX", `The index puts the tensor ${JSON.stringify(name)} in ${file}, which does not hold it.`, {
      fix: "Download the checkpoint again, index and all shards from one revision.",
    })
  }
  return shards
}

/** Refuses a folder or repository without model.safetensors, with the way out that fits the files it holds instead. */
export function noWeights(entries: readonly string[], where: string, name: string): CheckpointError {
  const pickle = entries.find((entry) => /^pytorch_model.*\.(bin|index\.json)$|\.(pt|pth)$/.test(entry))
  if (pickle !== undefined) {
    const converted = name.endsWith("-hf") ? "a repository that has model.safetensors" : `the repository ${name}-hf`
    return new CheckpointError("CHECKPOINT_PICKLE", `${where} holds ${pickle}, a Python pickle, and no model.safetensors.`, {
      fix: `Use ${converted}, or convert it with transformers: model.save_pretrained(folder).`,
    })
  }
  const other = entries.find((entry) => /\.(gguf|onnx|safetensors)$/.test(entry))
  if (other?.endsWith(".safetensors")) {
    return new CheckpointError("CHECKPOINT_EMPTY", `${where} has no model.safetensors but ${other}.`, {
      fix: `Load that file by name: ${where}/${other}.`,
    })
  }
  return new CheckpointError(
    "CHECKPOINT_EMPTY",
    `${where} holds no weights${other === undefined ? "" : ` but ${other}, a format that is not read`}.`,
    {
      fix: "A checkpoint folder has config.json and model.safetensors.",
    },
  )
}

async function readTokenizer(folder: string): Promise<Tokenizer | string> {
  const path = join(folder, "tokenizer.json")
  const text = await readText(path)
  if (text === undefined) return `there is no tokenizer.json in ${folder}`
  const config = (await readObject(join(folder, "tokenizer_config.json"), "CHECKPOINT_CONFIG")) ?? {}
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new TokenizerError("TOKENIZER_INVALID", `${path} is not valid JSON (${(cause as Error).message}).`, {
      fix: "Download the file again.",
      cause,
    })
  }
  return new Tokenizer(json, config, path)
}

/**
 * Reads the checkpoint at `path`, a folder in the layout of Hugging Face or one `.safetensors` file with `config.json` beside it.
 * @throws CheckpointError naming file, tensor, reason and way out; TokenizerError when there is a tokenizer.json that cannot be read.
 */
export async function readCheckpoint(
  path: string,
  name: string = basename(resolve(path)),
  label: string = `folder ${path}`,
): Promise<Checkpoint> {
  const absolute = resolve(path)
  const found = await stat(absolute).catch((cause: unknown) => {
    throw new CheckpointError("CHECKPOINT_NOT_FOUND", `${path} does not exist (${absolute}).`, {
      fix: "Pass a folder, a .safetensors file, a URL, or a hub id of the form owner/name.",
      cause,
    })
  })
  const single = found.isFile()
  if (single && !absolute.endsWith(".safetensors")) {
    throw new CheckpointError("CHECKPOINT_FORMAT", `${path} is a file but not .safetensors.`, {
      fix: "Pass the folder of the checkpoint, or its .safetensors file.",
    })
  }
  const folder = single ? dirname(absolute) : absolute
  const config = await readObject(join(folder, "config.json"), "CHECKPOINT_CONFIG")
  const whole = single ? absolute : join(folder, "model.safetensors")
  const isThere = await stat(whole).catch(() => undefined)
  const index = isThere === undefined ? await readIndex(folder) : undefined
  if (isThere === undefined && index === undefined) throw noWeights(await readdir(folder), folder, name)
  if (config === undefined) {
    throw new CheckpointError("CHECKPOINT_CONFIG", `There is no config.json in ${folder}.`, {
      fix: "Put the config.json of the model beside its weights.",
    })
  }
  const shards: [string, StoredTensor[]][] = index === undefined ? [[whole, await readTensors(whole)]] : await readShards(folder, index)
  const tensors: TensorSource[] = []
  const unsupported: UnsupportedTensor[] = []
  shards.forEach(([file, table], number) => {
    for (const { name: key, dtype: stored, shape, offset, bytes } of table) {
      const dtype = engineDtype(stored)
      if (dtype !== undefined && weightDtypes.has(dtype)) tensors.push({ name: key, file: number, offset, bytes, dtype, shape })
      else unsupported.push({ name: key, dtype: stored, shape, file })
    }
  })
  const generationConfig = (await readObject(join(folder, "generation_config.json"), "CHECKPOINT_CONFIG")) ?? {}
  const tokenizer = await readTokenizer(folder)
  return {
    name,
    label,
    config,
    generationConfig,
    files: shards.map(([file]) => file),
    tensors,
    unsupported,
    tokenizer: typeof tokenizer === "string" ? undefined : tokenizer,
    tokenizerMissing: typeof tokenizer === "string" ? tokenizer : undefined,
  }
}
