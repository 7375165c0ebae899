/** The Mamba family: what its configurations mean, in both layouts, and which are refused. */
import { readFileSync } from "node:fs"
import { describe, expect, test } from "vitest"
import type { TensorSource } from "../../ts/backend/interface.ts"
import { CheckpointError } from "../../ts/errors.ts"
import { readCheckpoint } from "../../ts/io/file.ts"
import type { LanguageModel } from "../../ts/models/family.ts"
import { families, mamba } from "../../ts/models/index.ts"
import { buildProgram } from "../../ts/run/programs.ts"
import { matchWeights } from "../../ts/run/weights.ts"
import { tableOf } from "../support/plans.ts"

const root = new URL("../../", import.meta.url)
type Config = Record<string, unknown>
const rustbook: Config = JSON.parse(readFileSync(new URL("models/rustbook-mamba1-2.8m/config.json", root), "utf8"))
const original: Config = { d_model: 768, n_layer: 24, vocab_size: 50277, ssm_cfg: {}, rms_norm: true, pad_vocab_size_multiple: 8 }
const small: Config = { model_type: "mamba", hidden_size: 8, num_hidden_layers: 1, vocab_size: 5 }
const shapes = (model: LanguageModel): Record<string, number[]> => Object.fromEntries(model.weights.map(({ key, shape }) => [key, shape]))
const first = "backbone.layers.0.mixer"
const parameters = (model: LanguageModel): number =>
  model.weights.filter(({ optional }) => !optional).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)

describe("matches", () => {
  test.each<[boolean, string, Config]>([
    [true, "model_type mamba", { model_type: "mamba" }],
    [true, "an architecture without model_type", { architectures: ["MambaForCausalLM"] }],
    [true, "the original layout", original],
    [false, "another model_type", { model_type: "mamba2", ssm_cfg: {}, d_model: 8, n_layer: 1 }],
    [false, "nothing that says what it is", { hidden_size: 8 }],
    [false, "an architecture that is no list", { architectures: "MambaForCausalLM" }],
  ])("%s: %s", (expected, _what, config) => {
    expect(mamba.matches(config)).toBe(expected)
  })
  test("it is a built-in family", () => {
    expect(families).toContain(mamba)
  })
})

describe("the layout of transformers", () => {
  test("the embedded model", () => {
    const model = mamba.parse(rustbook)
    expect(model).toMatchObject({ family: "mamba", hiddenSize: 192, numHiddenLayers: 8, vocabSize: 4096, vocabRows: 4096 })
    expect(shapes(model)).toMatchObject({
      "backbone.embeddings.weight": [4096, 192],
      [`${first}.in_proj.weight`]: [768, 192],
      [`${first}.conv1d.weight`]: [384, 1, 4],
      [`${first}.x_proj.weight`]: [12 + 32, 384],
      [`${first}.dt_proj.weight`]: [384, 12],
      [`${first}.A_log`]: [384, 16],
      "backbone.norm_f.weight": [192],
    })
  })

  test("absent fields have transformers' defaults", () => {
    const model = mamba.parse({ model_type: "mamba" })
    expect(model).toMatchObject({ hiddenSize: 768, numHiddenLayers: 32, vocabSize: 50280 })
    expect(model.fingerprint).toMatchObject({
      ...{ intermediate_size: 1536, state_size: 16, conv_kernel: 4, time_step_rank: 48, layer_norm_epsilon: 1e-5 },
      ...{ use_bias: false, use_conv_bias: true, tie_word_embeddings: true },
    })
  })

  test.each<[Config, Config]>([
    [{ time_step_rank: "auto" }, { time_step_rank: 1 }],
    [{ hidden_size: 33 }, { time_step_rank: 3, intermediate_size: 66 }],
    [{ time_step_rank: 5 }, { time_step_rank: 5 }],
    [{ expand: 1.5 }, { intermediate_size: 12 }],
    [{ intermediate_size: 20 }, { intermediate_size: 20 }],
    [{ expand: 3, intermediate_size: 24 }, { intermediate_size: 24 }],
    [{ hidden_act: "swish", residual_in_fp32: false, time_step_min: 0.1, use_mambapy: true }, { intermediate_size: 16 }],
    [{ d_model: 8, n_layer: 1, d_inner: 16, ssm_cfg: {}, rms_norm: true, fused_add_norm: true }, { hidden_size: 8 }],
    [{ layer_norm_epsilon: 1e-6 }, { layer_norm_epsilon: 1e-6 }],
  ])("%o means %o", (config, meaning) => {
    expect(mamba.parse({ ...small, ...config }).fingerprint).toMatchObject(meaning)
  })

  test("biases and the head are asked for where the configuration has them", () => {
    const names = (config: Config): string[] => Object.keys(shapes(mamba.parse({ ...small, ...config })))
    expect(names({ use_bias: true })).toEqual(expect.arrayContaining([`${first}.in_proj.bias`, `${first}.out_proj.bias`]))
    expect(names({})).not.toContain(`${first}.in_proj.bias`)
    expect(names({})).toContain(`${first}.conv1d.bias`)
    expect(names({ use_conv_bias: false })).not.toContain(`${first}.conv1d.bias`)
    const [tied, own] = [mamba.parse(small), mamba.parse({ ...small, tie_word_embeddings: false })]
    expect(tied.headKey(() => true)).toBe("backbone.embeddings.weight")
    expect(own.headKey(() => true)).toBe("lm_head.weight")
    const head = (model: LanguageModel): unknown => model.weights.find(({ key }) => key === "lm_head.weight")
    expect(head(tied)).toMatchObject({ optional: true, unused: true })
    expect(head(own)).not.toHaveProperty("optional")
    expect(head(own)).not.toHaveProperty("unused")
  })

  test("the norms take their epsilon from the configuration", () => {
    const model = mamba.parse({ ...small, layer_norm_epsilon: 3e-6 })
    const plan = buildProgram(model, tableOf(model), { kind: "logits", b: 1 })
    const norms = plan.nodes.filter(({ op }) => op === "rmsnorm")
    expect(norms.map(({ attrs }) => attrs.eps)).toEqual([3e-6, 3e-6])
  })
})

describe("the original layout", () => {
  test("the 130M model: its size, and a vocabulary that is padded", () => {
    const model = mamba.parse(original)
    expect(model).toMatchObject({ vocabSize: 50277, vocabRows: 50280, hiddenSize: 768, numHiddenLayers: 24 })
    expect(parameters(model)).toBe(129_135_360)
  })

  test("is the same model as in the other layout, to the fingerprint", () => {
    const { fingerprint } = mamba.parse({ ...small, hidden_size: 768, num_hidden_layers: 24, vocab_size: 50277 })
    expect(mamba.parse(original).fingerprint).toEqual(fingerprint)
  })

  test("ssm_cfg sets the sizes of a layer", () => {
    const ssm_cfg = { layer: "Mamba1", d_state: 8, d_conv: 3, expand: 3, dt_rank: 7, conv_bias: false, bias: true, dt_min: 0.01 }
    const model = mamba.parse({ ...original, d_model: 40, ssm_cfg, tie_embeddings: false })
    expect(model.fingerprint).toMatchObject({
      ...{ intermediate_size: 120, state_size: 8, conv_kernel: 3, time_step_rank: 7 },
      ...{ use_bias: true, use_conv_bias: false, tie_word_embeddings: false },
    })
  })

  test("the embedding has the original name too", () => {
    expect(mamba.parse(original).weights[0]).toMatchObject({
      key: "backbone.embeddings.weight",
      aliases: ["backbone.embedding.weight"],
    })
  })
})

describe("the state", () => {
  test("has the engine's order of axes, and the file's", () => {
    expect(mamba.parse({ ...small, num_hidden_layers: 2 }).state).toEqual([
      { name: "layers.0.conv", shape: [3, 16], external: [16, 3] },
      { name: "layers.0.ssm", shape: [16, 16], external: [16, 16] },
      { name: "layers.1.conv", shape: [3, 16], external: [16, 3] },
      { name: "layers.1.ssm", shape: [16, 16], external: [16, 16] },
    ])
  })
  test("of a convolution of width 1 is empty", () => {
    expect(mamba.parse({ ...small, conv_kernel: 1 }).state[0]).toEqual({ name: "layers.0.conv", shape: [0, 16], external: [16, 0] })
  })
})

describe("refused, naming field, value and the way out", () => {
  const cases: [config: Config, message: RegExp][] = [
    [{ hidden_size: -1 }, /hidden_size is -1, not a whole number from 1/],
    [{ hidden_size: "8" }, /hidden_size is "8", not a whole number/],
    [{ num_hidden_layers: 1.5 }, /num_hidden_layers is 1.5/],
    [{ num_hidden_layers: 0 }, /num_hidden_layers is 0/],
    [{ num_hidden_layers: 1e9 }, /num_hidden_layers is 1000000000, not a whole number from 1 to 10000/],
    [{ conv_kernel: null }, /conv_kernel is null/],
    [{ state_size: 2 ** 60 }, /state_size is 1152921504606847000/],
    [{ vocab_size: [] }, /vocab_size is \[\]/],
    [{ time_step_rank: "automatic" }, /time_step_rank is "automatic"/],
    [{ expand: 0 }, /expand is 0, not a positive number/],
    [{ expand: 0.1 }, /expand is 0.1, which leaves no channels of hidden size 8/],
    [{ layer_norm_epsilon: Number.POSITIVE_INFINITY }, /layer_norm_epsilon is Infinity, not a positive number/],
    [{ use_bias: "false" }, /use_bias is "false", not true or false/],
    [{ hidden_act: "gelu" }, /hidden_act is "gelu", which .* Only "silu"/],
    [{ expand: 2, intermediate_size: 17 }, /intermediate_size is 17, but expand · hidden_size makes it 16/],
    [{ d_inner: 17 }, /d_inner is 17, but expand · hidden_size makes it 16/],
    [{ d_model: 9 }, /d_model is 9, but hidden_size is 8/],
    [{ n_layer: 2 }, /n_layer is 2, but num_hidden_layers is 1/],
    [{ rms_norm: false }, /rms_norm is false, but only RMSNorm/],
  ]
  const originals: [config: Config, message: RegExp][] = [
    [{ ssm_cfg: { layer: "Mamba2" } }, /ssm_cfg.layer is "Mamba2", a layer of another family/],
    [{ ssm_cfg: { headdim: 64 } }, /ssm_cfg.headdim is 64, which Mamba-1 does not have/],
    [{ ssm_cfg: { d_state: "16" } }, /ssm_cfg.d_state is "16"/],
    [{ ssm_cfg: [] }, /ssm_cfg is \[\], not an object/],
    [{ attn_layer_idx: [1, 5] }, /attn_layer_idx is \[1,5\], but attention layers/],
    [{ d_intermediate: 64 }, /d_intermediate is 64, but layers with an MLP/],
    [{ rms_norm: false }, /rms_norm is false, but only RMSNorm/],
    [{ pad_vocab_size_multiple: 0 }, /pad_vocab_size_multiple is 0/],
    [{ d_model: 0 }, /d_model is 0/],
  ]
  test.each([
    ...cases.map(([config, m]) => [{ ...small, ...config }, m] as const),
    ...originals.map(([c, m]) => [{ ...original, ...c }, m] as const),
  ])("%o", (config, message) => {
    let error: unknown
    try {
      mamba.parse(config)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(CheckpointError)
    expect(error).toMatchObject({ code: "CHECKPOINT_FIELD", message: expect.stringMatching(message) })
    expect((error as CheckpointError).fix).toMatch(/^[A-Z].*\.$/)
  })
})

describe("checkpoints on disk have the tensors that their configuration asks for", () => {
  test.each(["models/rustbook-mamba1-2.8m", "test/golden/families/mamba", "test/golden/families/mamba-odd"])("%s", async (folder) => {
    const checkpoint = await readCheckpoint(new URL(folder, root).pathname)
    const model = mamba.parse(checkpoint.config)
    const { table } = matchWeights(model, checkpoint)
    expect(table.size).toBe(model.weights.filter(({ optional }) => !optional).length)
  })
  test("a head beside a tied embedding is left aside, if it has the head's shape", async () => {
    const checkpoint = await readCheckpoint(new URL("test/golden/families/mamba", root).pathname)
    const model = mamba.parse(checkpoint.config)
    const embedding = checkpoint.tensors.find(({ name }) => name === "backbone.embeddings.weight") as TensorSource
    const withHead = (shape: number[]) => ({
      ...checkpoint,
      tensors: [...checkpoint.tensors, { ...embedding, name: "lm_head.weight", shape }],
    })
    expect(matchWeights(model, withHead(embedding.shape))).toEqual(matchWeights(model, checkpoint))
    expect(() => matchWeights(model, withHead([1, 2]))).toThrow(/lm_head.weight has shape \[1, 2\]/)
  })
})
