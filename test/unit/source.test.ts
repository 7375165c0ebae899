import { chmod, cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { CheckpointError, OptionError, type StatespaceError, TokenizerError } from "../../ts/errors.ts"
import { encodeSafetensors, type TensorData } from "../../ts/io/safetensors.ts"
import { openCheckpoint, type Progress } from "../../ts/io/source.ts"

const golden = fileURLToPath(new URL("../golden/families/mamba", import.meta.url))
const tensor = (...shape: number[]): TensorData => ({ dtype: "f32", shape, data: new Uint8Array(4 * shape.reduce((a, b) => a * b, 1)) })

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "statespace-source-"))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** Writes files into the folder of this test; objects as JSON. */
async function put(files: Record<string, string | Uint8Array | object>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(folder, name), typeof content === "string" || content instanceof Uint8Array ? content : JSON.stringify(content))
  }
}

async function refusal<T extends StatespaceError>(kind: new (...args: never[]) => T, source: unknown, options = {}): Promise<T> {
  const error = await openCheckpoint(source as string, options).catch((caught: unknown) => caught)
  expect(error).toBeInstanceOf(kind)
  return error as T
}

describe("places on this machine", () => {
  it("finds the embedded model and reads all of it", async () => {
    const heard: Progress[] = []
    const checkpoint = await openCheckpoint(undefined, { onProgress: (progress) => heard.push(progress) })
    expect(checkpoint.name).toBe("rustbook-mamba1-2.8m")
    expect(checkpoint.label).toBe("embedded model rustbook-mamba1-2.8m")
    expect(heard).toEqual([{ phase: "source", file: checkpoint.label, loaded: 0 }])
    expect(checkpoint.config.model_type).toBe("mamba")
    expect(checkpoint.generationConfig.eos_token_id).toBe(0)
    expect(checkpoint.tensors).toHaveLength(82)
    expect(checkpoint.unsupported).toEqual([])
    expect(checkpoint.tokenizer?.vocabSize).toBe(4096)
    const embedding = checkpoint.tensors.find((entry) => entry.name === "backbone.embeddings.weight")
    expect(embedding).toEqual({
      name: "backbone.embeddings.weight",
      file: 0,
      offset: 8496,
      bytes: 4096 * 192 * 2,
      dtype: "bf16",
      shape: [4096, 192],
    })
  })

  it("finds it from a build in dist/ as well", async () => {
    await cp(fileURLToPath(new URL("../../ts/io", import.meta.url)), join(folder, "dist/io"), { recursive: true })
    await cp(fileURLToPath(new URL("../../ts/errors.ts", import.meta.url)), join(folder, "dist/errors.ts"))
    await cp(fileURLToPath(new URL("../../models", import.meta.url)), join(folder, "models"), { recursive: true })
    await put({ "package.json": { name: "statespace", type: "module" } })
    const built = (await import(/* @vite-ignore */ pathToFileURL(join(folder, "dist/io/source.ts")).href)) as {
      openCheckpoint: typeof openCheckpoint
    }
    expect((await built.openCheckpoint()).files.map(({ path }) => path)).toEqual([
      join(folder, "models/rustbook-mamba1-2.8m/model.safetensors"),
    ])
  })

  it("takes a folder, a file, a file URL and a relative path as the same checkpoint", async () => {
    const file = join(golden, "model.safetensors")
    const all = [golden, file, pathToFileURL(golden), pathToFileURL(file).href, relative(process.cwd(), golden)]
    for (const source of all) {
      const checkpoint = await openCheckpoint(source)
      expect(checkpoint.files.map(({ path }) => path)).toEqual([file])
      expect(checkpoint.config.hidden_size).toBe(48)
      expect(checkpoint.tokenizer).toBeUndefined()
      expect(checkpoint.tokenizerMissing).toMatch(/no tokenizer\.json/)
    }
  })

  it("reads a configuration with Python's numbers, and no generation_config.json as empty", async () => {
    await put({ "config.json": '\ufeff{"time_step_limit": [0.0, Infinity], "low": -Infinity, "odd": NaN, "text": "NaN, Infinity \\"NaN"}' })
    await put({ "model.safetensors": encodeSafetensors(new Map([["a", tensor(2)]])) })
    const { config, generationConfig } = await openCheckpoint(folder)
    expect(config).toEqual({ time_step_limit: [0, Infinity], low: -Infinity, odd: Number.NaN, text: 'NaN, Infinity "NaN' })
    expect(generationConfig).toEqual({})
  })

  it("keeps tensors of other dtypes apart until a model needs them", async () => {
    const header = '{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]},"n":{"dtype":"I64","shape":[],"data_offsets":[2,10]}}'
    const bytes = new Uint8Array(8 + header.length + 10)
    bytes[0] = header.length
    bytes.set(new TextEncoder().encode(header), 8)
    await put({ "config.json": {}, "model.safetensors": bytes })
    const { tensors, unsupported } = await openCheckpoint(folder)
    expect(tensors).toEqual([])
    expect(unsupported).toEqual([
      { name: "a", dtype: "F8_E4M3", shape: [2], file: join(folder, "model.safetensors") },
      { name: "n", dtype: "I64", shape: [], file: join(folder, "model.safetensors") },
    ])
  })

  it("refuses what is no checkpoint, saying what it found", async () => {
    expect(await refusal(CheckpointError, join(folder, "none"))).toMatchObject({
      code: "CHECKPOINT_NOT_FOUND",
      message: expect.stringContaining("none"),
    })
    expect((await refusal(CheckpointError, "mamba-130m")).fix).toContain("owner/name")
    expect(await refusal(CheckpointError, folder)).toMatchObject({ code: "CHECKPOINT_EMPTY", message: expect.stringContaining(folder) })
    await put({ "model.gguf": "GGUF" })
    expect(await refusal(CheckpointError, folder)).toMatchObject({
      code: "CHECKPOINT_EMPTY",
      message: expect.stringContaining("model.gguf"),
    })
    expect(await refusal(CheckpointError, join(folder, "model.gguf"))).toMatchObject({ code: "CHECKPOINT_FORMAT" })
    await put({ "other.safetensors": encodeSafetensors(new Map()) })
    await rm(join(folder, "model.gguf"))
    expect((await refusal(CheckpointError, folder)).fix).toContain("other.safetensors")
    await rename(join(folder, "other.safetensors"), join(folder, "model.safetensors"))
    expect(await refusal(CheckpointError, folder)).toMatchObject({
      code: "CHECKPOINT_CONFIG",
      message: expect.stringContaining("no config.json"),
    })
  })

  it("names the converted repository when there is only a pickle", async () => {
    await mkdir(join(folder, "mamba-130m"))
    for (const [path, name] of [
      ["mamba-130m/config.json", "{}"],
      ["mamba-130m/pytorch_model.bin", "PK"],
    ] as const) {
      await put({ [path]: name })
    }
    const error = await refusal(CheckpointError, join(folder, "mamba-130m"))
    expect(error.code).toBe("CHECKPOINT_PICKLE")
    expect(error.message).toContain("pytorch_model.bin")
    expect(error.fix).toContain("mamba-130m-hf")
  })

  it.each([
    ["broken", '{"a":', "not valid JSON"],
    ["empty", "", "not valid JSON"],
    ["a list", "[1]", "not a JSON object"],
    ["null", "null", "not a JSON object"],
    ["cut in a string", '{"a": "b', "not valid JSON"],
    ["cut after a backslash", '{"a": "\\', "not valid JSON"],
  ])("refuses a configuration that is %s", async (_what, text, reason) => {
    await put({ "config.json": text, "model.safetensors": encodeSafetensors(new Map()) })
    const error = await refusal(CheckpointError, folder)
    expect(error).toMatchObject({ code: "CHECKPOINT_CONFIG", message: expect.stringContaining(reason) })
    expect(error.message).toContain(join(folder, "config.json"))
  })

  it("refuses a folder where a file should be", async () => {
    await put({ "model.safetensors": encodeSafetensors(new Map()) })
    await mkdir(join(folder, "config.json"))
    expect(await refusal(CheckpointError, folder)).toMatchObject({ code: "CHECKPOINT_READ", fix: expect.stringContaining("not a folder") })
    await rm(join(folder, "config.json"), { recursive: true })
    await rm(join(folder, "model.safetensors"))
    await put({ "config.json": {} })
    await mkdir(join(folder, "model.safetensors"))
    expect(await refusal(CheckpointError, folder)).toMatchObject({ code: "CHECKPOINT_READ", fix: expect.stringContaining("not a folder") })
  })

  it("refuses a file that may not be read", async () => {
    await put({ "config.json": {}, "model.safetensors": encodeSafetensors(new Map()) })
    await chmod(join(folder, "model.safetensors"), 0)
    const asRoot = await readFile(join(folder, "model.safetensors")).then(
      () => true,
      () => false,
    )
    // Root may read everything, so there is nothing to refuse.
    if (asRoot) expect((await openCheckpoint(folder)).tensors).toEqual([])
    else expect(await refusal(CheckpointError, folder)).toMatchObject({ code: "CHECKPOINT_READ" })
  })

  it("names a truncated weight file", async () => {
    const bytes = encodeSafetensors(new Map([["a", tensor(4)]]))
    await put({ "config.json": {}, "model.safetensors": bytes.subarray(0, bytes.length - 1) })
    const error = await refusal(CheckpointError, folder)
    expect(error).toMatchObject({ code: "CHECKPOINT_TRUNCATED", message: expect.stringContaining('tensor "a"') })
    expect(error.message).toContain(join(folder, "model.safetensors"))
  })

  it("names a tokenizer that cannot be read", async () => {
    await put({ "config.json": {}, "model.safetensors": encodeSafetensors(new Map()), "tokenizer.json": "{" })
    expect(await refusal(TokenizerError, folder)).toMatchObject({
      code: "TOKENIZER_INVALID",
      message: expect.stringContaining(join(folder, "tokenizer.json")),
    })
    await put({ "tokenizer.json": {} })
    expect(await refusal(TokenizerError, folder)).toMatchObject({
      code: "TOKENIZER_INVALID",
      message: expect.stringContaining(join(folder, "tokenizer.json")),
    })
  })

  it("refuses names that are none", async () => {
    for (const source of ["", 5, null, {}]) expect((await refusal(OptionError, source)).code).toBe("OPTION_TYPE")
    expect((await refusal(OptionError, "http://")).code).toBe("OPTION_RANGE")
    expect((await refusal(CheckpointError, "file://elsewhere/x")).code).toBe("CHECKPOINT_NOT_FOUND")
  })

  it("rejects with the reason of a signal that is aborted already", async () => {
    const reason = new Error("enough")
    await expect(openCheckpoint(golden, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })
})

describe("sharded checkpoints", () => {
  const one = "model-00001-of-00002.safetensors"
  const two = "model-00002-of-00002.safetensors"

  async function shards(map: unknown): Promise<void> {
    await put({
      "config.json": {},
      [one]: encodeSafetensors(new Map([["a", tensor(2)]])),
      [two]: encodeSafetensors(new Map([["b", tensor(3)]])),
      "model.safetensors.index.json": { metadata: { total_size: 20 }, weight_map: map },
    })
  }

  it("gives every tensor with its file", async () => {
    await shards({ b: two, a: one })
    const { files, tensors } = await openCheckpoint(folder)
    expect(files.map(({ path }) => path)).toEqual([join(folder, one), join(folder, two)])
    expect(tensors.map(({ name, file, shape }) => [name, file, shape])).toEqual([
      ["a", 0, [2]],
      ["b", 1, [3]],
    ])
  })

  it.each([
    ["no weight_map", undefined, /no weight_map/],
    ["an empty weight_map", {}, /no weight_map/],
    ["a listed tensor that is absent", { a: one, b: two, c: two }, /"c" in model-00002/],
    ["a present tensor that is not listed", { a: one, c: two }, /"b", which the index does not list/],
    ["a tensor in another shard", { a: one, b: one, c: two }, /"b", which the index puts in model-00001/],
    ["a path upwards", { a: "../x.safetensors" }, /not a file of this folder/],
    ["a path inside", { a: "sub/x.safetensors" }, /not a file of this folder/],
    ["a Windows path", { a: "..\\x.safetensors" }, /not a file of this folder/],
    ["an absolute path", { a: "/etc/x.safetensors" }, /not a file of this folder/],
    ["another kind of file", { a: "pytorch_model.bin" }, /not a file of this folder/],
    ["a number", { a: 1 }, /not a file of this folder/],
  ])("refuses %s", async (_what, map, reason) => {
    await shards(map)
    const error = await refusal(CheckpointError, folder)
    expect(error.code).toBe("CHECKPOINT_INDEX")
    expect(error.message).toMatch(reason)
  })

  it("names a shard that is missing", async () => {
    await shards({ a: one, b: two })
    await rm(join(folder, two))
    expect(await refusal(CheckpointError, folder)).toMatchObject({ code: "CHECKPOINT_NOT_FOUND", message: expect.stringContaining(two) })
  })
})
