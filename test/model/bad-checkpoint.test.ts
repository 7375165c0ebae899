/** Checkpoints that contradict themselves: each the typed error that names the thing. */
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { CheckpointError, StatespaceError, TokenizerError } from "../../ts/errors.ts"
import { load as loadOn } from "../../ts/index.ts"
import { decodeSafetensors, encodeSafetensors, type TensorData } from "../../ts/io/safetensors.ts"
import { way } from "../support/backend.ts"

const load = (path: string): ReturnType<typeof loadOn> => loadOn(path, way)

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "statespace-bad-"))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

let count = 0
/** A copy of the small checkpoint with its tensors or its configuration changed. */
async function changed(tensors?: (tensors: Map<string, TensorData>) => void, config?: object): Promise<string> {
  const path = join(folder, String(count++))
  await cp(new URL("../golden/families/mamba", import.meta.url), path, { recursive: true })
  if (tensors !== undefined) {
    const file = decodeSafetensors(await readFile(join(path, "model.safetensors")), "model")
    tensors(file.tensors)
    await writeFile(join(path, "model.safetensors"), encodeSafetensors(file.tensors, file.metadata))
  }
  if (config !== undefined) {
    const old = JSON.parse(await readFile(join(path, "config.json"), "utf8")) as object
    await writeFile(join(path, "config.json"), JSON.stringify({ ...old, ...config }))
  }
  return path
}
async function refusal(path: string): Promise<StatespaceError> {
  const error = await load(path).then(
    () => undefined,
    (e: unknown) => e,
  )
  expect(error).toBeInstanceOf(StatespaceError)
  return error as StatespaceError
}
const norm = "backbone.layers.1.norm.weight"
const floats = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer)

describe("load refuses", () => {
  test("missing tensors, naming all", async () => {
    const error = await refusal(
      await changed((tensors) => {
        tensors.delete(norm)
        tensors.delete("backbone.layers.0.mixer.D")
      }),
    )
    expect(error).toBeInstanceOf(CheckpointError)
    expect(error.code).toBe("CHECKPOINT_MISSING")
    expect(error.message).toContain(norm)
    expect(error.message).toContain("backbone.layers.0.mixer.D")
  })
  test("tensors that the model has no use for", async () => {
    const error = await refusal(
      await changed((tensors) => tensors.set("backbone.layers.9.mixer.D", { dtype: "f32", shape: [1], data: floats(1) })),
    )
    expect(error).toMatchObject({ code: "CHECKPOINT_UNEXPECTED", message: expect.stringContaining("backbone.layers.9.mixer.D") })
  })
  test("a wrong shape, naming found and expected", async () => {
    const error = await refusal(await changed((tensors) => tensors.set(norm, { dtype: "f32", shape: [2], data: floats(1, 2) })))
    expect(error).toMatchObject({ code: "CHECKPOINT_SHAPE", message: expect.stringMatching(/layers\.1\.norm\.weight.*\[2\].*\[48\]/) })
  })
  test("a wrong dtype", async () => {
    const error = await refusal(
      await changed((tensors) => tensors.set(norm, { dtype: "i32", shape: [48], data: floats(...new Array(48).fill(1)) })),
    )
    expect(error).toMatchObject({ code: "CHECKPOINT_DTYPE", message: expect.stringMatching(/layers\.1\.norm\.weight.*I32/) })
  })
  test.each([{ hidden_size: 64 }, { num_hidden_layers: 4 }, { state_size: 8 }, { vocab_size: 321 }, { num_hidden_layers: 2 }])(
    "a configuration that contradicts the tensors: %o",
    async (config) => {
      expect(await refusal(await changed(undefined, config))).toBeInstanceOf(CheckpointError)
    },
  )
  test.each([
    { hidden_size: -1 },
    { hidden_size: "48" },
    { num_hidden_layers: 1.5 },
    { conv_kernel: null },
    { model_type: "gpt2", architectures: [] },
    { hidden_act: "gelu" },
  ])("a configuration that makes no sense: %o", async (config) => {
    const error = await refusal(await changed(undefined, config))
    expect(error).toBeInstanceOf(CheckpointError)
    expect(error.fix).not.toBe("")
  })
  test("a broken tokenizer", async () => {
    const path = await changed()
    await writeFile(join(path, "tokenizer.json"), '{"model": 3}')
    expect(await refusal(path)).toBeInstanceOf(TokenizerError)
  })
})

describe("load accepts", () => {
  test("the original repository's name of the embedding, and f16 and bf16 vectors", async () => {
    const path = await changed((tensors) => {
      tensors.set("backbone.embedding.weight", tensors.get("backbone.embeddings.weight") as TensorData)
      tensors.delete("backbone.embeddings.weight")
      tensors.set(norm, { dtype: "bf16", shape: [48], data: new Uint8Array(Uint16Array.from({ length: 48 }, () => 0x3f80).buffer) })
    })
    const model = await load(path)
    expect((await model.complete([1, 2, 3], { maxNewTokens: 3 })).tokens).not.toHaveLength(0)
    await model.dispose()
  })
  test("a folder without tokenizer: ids work, text names what is missing", async () => {
    const model = await load(await changed())
    await expect(model.complete("a")).rejects.toThrow(/tokenizer\.json/)
    await model.dispose()
  })
})

describe("weights that hold a NaN", () => {
  test("load, and the first logit names the first such tensor", async () => {
    const model = await load(
      await changed((tensors) => {
        const weight = tensors.get("backbone.layers.2.mixer.out_proj.weight") as TensorData
        const data = weight.data.slice()
        data.set([0, 0, 0xc0, 0x7f], 400)
        tensors.set("backbone.layers.2.mixer.out_proj.weight", { ...weight, data })
      }),
    )
    const session = model.session()
    await session.feed([1, 2, 3])
    const calls: (() => Promise<unknown>)[] = [
      () => model.complete([1, 2, 3]),
      () => model.complete([[1], [2, 3]]),
      () => session.generate().result(),
      () => session.logits(),
      () => session.save(),
      () => model.score([1, 2, 3]),
      () => model.embed([1, 2, 3]),
      () => model.forward([1, 2, 3]),
    ]
    for (const call of calls) {
      const error = await call().catch((e: unknown) => e)
      expect(error).toBeInstanceOf(CheckpointError)
      expect(error).toMatchObject({
        code: "CHECKPOINT_NON_FINITE",
        message: expect.stringContaining("backbone.layers.2.mixer.out_proj.weight"),
      })
    }
    expect(session.tokens).toBe(3)
    await model.dispose()
  })
})
