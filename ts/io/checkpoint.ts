/**
 * A checkpoint, read as data from a folder wherever that lies: configurations, tensor table, tokenizer. Nothing in it is executed, and
 * weights stay where they are.
 */
import type { TensorSource } from "../backend/interface.ts"
import { CheckpointError, TokenizerError } from "../errors.ts"
import { parseLenientJson } from "./json.ts"
import { engineDtype, readTable, type StoredTensor } from "./safetensors.ts"
import { Tokenizer } from "./tokenizer.ts"
import type { Checkpoint, CheckpointFile, Folder, UnsupportedTensor } from "./types.ts"

type Json = Record<string, unknown>

/** Dtypes that weights may have. */
const weightDtypes: ReadonlySet<string> = new Set(["f32", "bf16", "f16"])

const isRecord = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

/** Text of a small file, or undefined when there is none. */
async function readText(folder: Folder, file: string): Promise<string | undefined> {
  const found = await folder.find(file)
  if (found === undefined) return undefined
  const bytes = await found.head(Number.POSITIVE_INFINITY)
  await found.close()
  return new TextDecoder().decode(bytes)
}

/** Parsed JSON object of a file, or undefined when there is none. */
async function readObject(folder: Folder, file: string, code: string): Promise<Json | undefined> {
  const given = folder.parsed?.get(file)
  if (given !== undefined) return given
  const text = await readText(folder, file)
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
  throw new CheckpointError(code, `${folder.nameOf(file)} ${reason}.`, { fix: "Download the file again.", cause })
}

/** Files of a sharded checkpoint and the file that each tensor is listed in. */
async function readIndex(folder: Folder): Promise<Map<string, string> | undefined> {
  const file = "model.safetensors.index.json"
  const index = await readObject(folder, file, "CHECKPOINT_INDEX")
  if (index === undefined) return undefined
  const map = index.weight_map
  const fail = (reason: string): CheckpointError =>
    new CheckpointError("CHECKPOINT_INDEX", `${folder.nameOf(file)}: ${reason}.`, {
      fix: "Download the checkpoint again, index and all shards from one revision.",
    })
  if (!isRecord(map) || Object.keys(map).length === 0) throw fail("it has no weight_map")
  for (const [name, shard] of Object.entries(map)) {
    // A name with a separator could lead out of the folder.
    if (typeof shard !== "string" || !/^[^/\\]+\.safetensors$/.test(shard) || shard.includes("..")) {
      throw fail(`tensor ${JSON.stringify(name)} names the file ${JSON.stringify(shard)}, which is not a file of this folder`)
    }
  }
  return new Map(Object.entries(map) as [string, string][])
}

/** A weight file with its table. */
interface Shard {
  file: CheckpointFile
  tensors: StoredTensor[]
}

async function readShard(file: CheckpointFile): Promise<Shard> {
  const { tensors, bytes } = await readTable(file)
  return { file: file.bytes === undefined ? sized(file, bytes) : file, tensors }
}

/** For one of several: servers allow few connections at once, and each half-read file holds one. */
async function readClosed(file: CheckpointFile): Promise<Shard> {
  const shard = await readShard(file)
  await file.close()
  return shard
}

/** A file whose server does not say how long it is has the length that its header says. */
function sized(file: CheckpointFile, bytes: number): CheckpointFile {
  const { name, lent } = file
  return { name, bytes, lent, head: (length) => file.head(length), open: () => file.open(), close: () => file.close() }
}

/** All shards, checked against the index: listed means present in that file, and nothing else is there. */
async function readShards(folder: Folder, index: ReadonlyMap<string, string>): Promise<Shard[]> {
  const shards: Shard[] = []
  const seen = new Set<string>()
  for (const name of [...new Set(index.values())].sort()) {
    const file = await folder.find(name)
    if (file === undefined) {
      throw new CheckpointError("CHECKPOINT_NOT_FOUND", `${folder.nameOf(name)} does not exist.`, { fix: "Download the checkpoint again." })
    }
    const shard = await readClosed(file)
    for (const tensor of shard.tensors) {
      seen.add(tensor.name)
      const listed = index.get(tensor.name)
      if (listed === name) continue
      const said = listed === undefined ? "does not list" : `puts in ${listed}`
      throw new CheckpointError(
        "CHECKPOINT_INDEX",
        `${file.name} holds the tensor ${JSON.stringify(tensor.name)}, which the index ${said}.`,
        { fix: "Download the checkpoint again, index and all shards from one revision." },
      )
    }
    shards.push(shard)
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

type FoundTokenizer = Pick<Checkpoint, "tokenizer" | "tokenizerFiles" | "tokenizerMissing">

async function readTokenizer(folder: Folder): Promise<FoundTokenizer> {
  const name = folder.nameOf("tokenizer.json")
  const given = folder.parsed?.get("tokenizer.json")
  const text = given === undefined ? await readText(folder, "tokenizer.json") : undefined
  if (given === undefined && text === undefined)
    return { tokenizer: undefined, tokenizerMissing: `there is no tokenizer.json in ${folder.where}` }
  const config = (await readObject(folder, "tokenizer_config.json", "CHECKPOINT_CONFIG")) ?? {}
  let json: object
  try {
    json = given ?? JSON.parse(text as string)
  } catch (cause) {
    throw new TokenizerError("TOKENIZER_INVALID", `${name} is not valid JSON (${(cause as Error).message}).`, {
      fix: "Download the file again.",
      cause,
    })
  }
  return { tokenizer: new Tokenizer(json, config, name), tokenizerFiles: { json, config }, tokenizerMissing: undefined }
}

/** The weight files: those that are named, or `model.safetensors`, or what its index lists. */
async function findShards(folder: Folder, name: string, weights: string | readonly string[]): Promise<() => Promise<Shard[]>> {
  if (typeof weights !== "string" && weights.length > 1) {
    return async () => {
      const shards: Shard[] = []
      for (const file of weights) shards.push(await readClosed((await folder.find(file)) as CheckpointFile))
      return shards
    }
  }
  const whole = await folder.find(String(weights))
  if (whole !== undefined) return async () => [await readShard(whole)]
  const index = await readIndex(folder)
  if (index === undefined) throw noWeights(await folder.list(), folder.where, name)
  return () => readShards(folder, index)
}

/**
 * Reads the checkpoint in `folder`, in the layout of Hugging Face; `weights` names its file, or files, when that is not `model.safetensors`.
 * @throws CheckpointError naming file, tensor, reason and way out; TokenizerError when there is a tokenizer.json that cannot be read.
 */
export async function readFolder(
  folder: Folder,
  name: string,
  label: string,
  weights: string | readonly string[] = "model.safetensors",
): Promise<Checkpoint> {
  const config = await readObject(folder, "config.json", "CHECKPOINT_CONFIG")
  const read = await findShards(folder, name, weights)
  if (config === undefined) {
    throw new CheckpointError("CHECKPOINT_CONFIG", `There is no config.json in ${folder.where}.`, {
      fix: "Put the config.json of the model beside its weights.",
    })
  }
  // Small files, each of which is a way to the server and back: they come together, beside the table of weights.
  const beside = Promise.all([readObject(folder, "generation_config.json", "CHECKPOINT_CONFIG"), readTokenizer(folder)])
  beside.catch(() => {})
  const shards = await read()
  const tensors: TensorSource[] = []
  const unsupported: UnsupportedTensor[] = []
  const names = new Set<string>()
  shards.forEach(({ file, tensors: table }, number) => {
    for (const { name: key, dtype: stored, shape, offset, bytes } of table) {
      if (names.has(key)) {
        throw new CheckpointError("CHECKPOINT_DUPLICATE", `Two weight files hold the tensor ${JSON.stringify(key)}; ${file.name} is one.`, {
          fix: "Give each shard once.",
        })
      }
      names.add(key)
      const dtype = engineDtype(stored)
      if (dtype !== undefined && weightDtypes.has(dtype)) tensors.push({ name: key, file: number, offset, bytes, dtype, shape })
      else unsupported.push({ name: key, dtype: stored, shape, file: file.name })
    }
  })
  const files = shards.map(({ file }) => file)
  const weightBytes = files.reduce((sum, { bytes = 0 }) => sum + bytes, 0)
  const [generationConfig = {}, tokenizer] = await beside
  return { name, label, config, generationConfig, files, weightBytes, tensors, unsupported, ...tokenizer }
}
