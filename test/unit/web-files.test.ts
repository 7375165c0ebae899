/** Checkpoints in the caller's hands: files that were dropped, and parts from everywhere. */
import { readFileSync } from "node:fs"
import { fileURLToPath, pathToFileURL } from "node:url"
import { describe, expect, it, test } from "vitest"
import { CheckpointError, OptionError } from "../../ts/errors.ts"
import { encodeSafetensors, type TensorData } from "../../ts/io/safetensors.ts"
import { openCheckpoint as openInNode } from "../../ts/io/source.ts"
import type { Checkpoint, CheckpointSource, FileLike, Progress } from "../../ts/io/types.ts"
import { openCheckpoint } from "../../ts/io/web/source.ts"
import { tiny } from "../../ts/tiny.ts"
import { serveFiles, sha256 } from "../support/file-server.ts"

const folder = new URL("../../models/rustbook-mamba1-2.8m/", import.meta.url)
const names = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
const bytesOf = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(name, folder)))
const jsonOf = (name: string): Record<string, unknown> => JSON.parse(readFileSync(new URL(name, folder), "utf8"))
const weights = bytesOf("model.safetensors")
const tensor = (...shape: number[]): TensorData => ({ dtype: "f32", shape, data: new Uint8Array(4 * shape.reduce((a, b) => a * b, 1)) })

function dropped(path: string, content: Uint8Array | string): FileLike {
  const file = new File([content], path.slice(path.lastIndexOf("/") + 1))
  return path.includes("/") ? Object.assign(file, { webkitRelativePath: path }) : file
}
async function read({ files }: Checkpoint, number = 0): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const piece of files[number]?.open() ?? []) parts.push(piece)
  return new Uint8Array(Buffer.concat(parts))
}
async function refusal(source: unknown): Promise<CheckpointError> {
  return (await openCheckpoint(source as CheckpointSource).catch((caught: unknown) => caught)) as CheckpointError
}

describe("dropped files", () => {
  it("are a checkpoint, read in pieces, with progress", async () => {
    const heard: Progress[] = []
    const files = names.map((name) => dropped(name, bytesOf(name)))
    const checkpoint = await openCheckpoint(files, { onProgress: (progress) => heard.push(progress) })
    expect(checkpoint).toMatchObject({ name: "model", label: "files" })
    expect(checkpoint.tensors).toHaveLength(82)
    expect(checkpoint.tokenizer?.vocabSize).toBe(4096)
    expect(sha256(await read(checkpoint))).toBe(sha256(weights))
    expect(heard.at(-1)).toEqual({ phase: "read", file: "model.safetensors", loaded: weights.length, total: weights.length })
    expect(heard.filter(({ phase }) => phase === "read").length).toBeGreaterThan(1)
  })

  it("may be a folder with more in it: its shallowest configuration says where the checkpoint lies", async () => {
    const files = [
      dropped("mamba/onnx/config.json", '{"model_type": "other"}'),
      dropped("mamba/onnx/model.safetensors", "no"),
      ...names.map((name) => dropped(`mamba/${name}`, bytesOf(name))),
    ]
    const checkpoint = await openCheckpoint({ ...files, length: files.length })
    expect(checkpoint).toMatchObject({ name: "mamba", label: "files of mamba" })
    expect(checkpoint.config.model_type).toBe("mamba")
  })

  it("may be shards, or have one file of weights of any name", async () => {
    const index = { weight_map: { a: "one.safetensors", b: "two.safetensors" } }
    const shards = [
      dropped("config.json", "{}"),
      dropped("one.safetensors", encodeSafetensors(new Map([["a", tensor(2)]]))),
      dropped("two.safetensors", encodeSafetensors(new Map([["b", tensor(3)]]))),
    ]
    const indexed = [...shards, dropped("model.safetensors.index.json", JSON.stringify(index))]
    expect((await openCheckpoint(indexed)).tensors.map(({ name, file }) => [name, file])).toEqual([
      ["a", 0],
      ["b", 1],
    ])
    expect(await refusal(shards)).toMatchObject({ code: "CHECKPOINT_EMPTY" })
    expect((await openCheckpoint(shards.slice(0, 2))).name).toBe("one")
  })

  it("are refused with what is missing", async () => {
    expect(await refusal([])).toMatchObject({ code: "CHECKPOINT_EMPTY" })
    expect(await refusal([dropped("model.safetensors", weights)])).toMatchObject({ code: "CHECKPOINT_CONFIG" })
    expect(await refusal([dropped("config.json", "{}"), dropped("pytorch_model.bin", "PK")])).toMatchObject({ code: "CHECKPOINT_PICKLE" })
    const cut = [dropped("config.json", "{}"), dropped("model.safetensors", weights.subarray(0, 1_000_000))]
    expect(await refusal(cut)).toMatchObject({ code: "CHECKPOINT_TRUNCATED", message: expect.stringContaining("model.safetensors") })
  })

  it("that were changed since are named", async () => {
    const file = dropped("model.safetensors", weights)
    const gone = { name: file.name, size: file.size, slice: () => ({ ...gone, arrayBuffer: () => Promise.reject(new Error("changed")) }) }
    const files = [dropped("config.json", "{}"), { ...gone, arrayBuffer: file.arrayBuffer } as FileLike]
    expect(await refusal(files)).toMatchObject({ code: "CHECKPOINT_READ", message: expect.stringContaining("changed") })
  })
})

describe("parts", () => {
  it("may be parsed, bytes, files or addresses", async () => {
    const server = await serveFiles()
    server.files.set("/t.json", bytesOf("tokenizer.json"))
    const checkpoint = await openCheckpoint({
      name: "mine",
      config: { ...jsonOf("config.json"), time_step_limit: [0, Number.POSITIVE_INFINITY] },
      weights: weights.buffer as ArrayBuffer,
      tokenizer: `${server.origin}/t.json`,
      tokenizerConfig: new Blob([bytesOf("tokenizer_config.json")]),
      generationConfig: bytesOf("generation_config.json"),
    })
    await server.close()
    expect(checkpoint).toMatchObject({ name: "mine", label: "checkpoint mine" })
    expect(checkpoint.config.time_step_limit).toEqual([0, Number.POSITIVE_INFINITY])
    expect(checkpoint.generationConfig.eos_token_id).toBe(0)
    expect(checkpoint.tokenizer?.encode("fn main() {}")).toEqual((await openInNode()).tokenizer?.encode("fn main() {}"))
    expect(checkpoint.files[0]?.data?.buffer === weights.buffer).toBe(true)
  })

  it("hand out copies of the caller's bytes where they stream", async () => {
    const checkpoint = await openCheckpoint({ config: jsonOf("config.json"), weights })
    const all = await read(checkpoint)
    for await (const piece of checkpoint.files[0]?.open() ?? []) expect(piece.buffer === weights.buffer).toBe(false)
    expect(sha256(all)).toBe(sha256(weights))
  })

  it("may be several files of weights, each tensor in one of them", async () => {
    const [a, b] = ["a", "b"].map((name) => encodeSafetensors(new Map([[name, tensor(2)]]))) as [Uint8Array, Uint8Array]
    const { tensors } = await openCheckpoint({ config: {}, weights: [a, new Blob([b])] })
    expect(tensors.map(({ name, file }) => [name, file])).toEqual([
      ["a", 0],
      ["b", 1],
    ])
    expect(await refusal({ config: {}, weights: [a, a] })).toMatchObject({ code: "CHECKPOINT_DUPLICATE" })
  })

  it("are needed: weights alone say nothing", async () => {
    for (const alone of [weights, weights.buffer, dropped("model.safetensors", weights)]) {
      const error = await refusal(alone)
      expect(error).toBeInstanceOf(CheckpointError)
      expect(error).toMatchObject({ code: "CHECKPOINT_CONFIG", fix: expect.stringContaining("{ config, weights }") })
    }
    for (const none of [5, null, {}, { config: {} }, { config: {}, weights: 5 }]) expect(await refusal(none)).toBeInstanceOf(OptionError)
  })
})

test("the embedded model in parts is that of Node, and there its weights stay in their file", async () => {
  const [named, parts] = await Promise.all([openInNode(), openInNode(tiny)])
  expect(parts.files[0]?.path).toBe(fileURLToPath(new URL("model.safetensors", folder)))
  expect(parts.tensors).toEqual(named.tensors)
  expect(parts.config).toEqual(named.config)
  expect(parts.generationConfig).toEqual(named.generationConfig)
  expect(parts.tokenizer?.vocabSize).toBe(4096)
  expect(await refusal({ ...tiny, weights: pathToFileURL("none.safetensors") })).toMatchObject({ code: "HUB_UNREACHABLE" })
})
