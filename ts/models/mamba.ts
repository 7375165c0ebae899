/**
 * Mamba, the first generation (arXiv 2312.00752): the checkpoints of `MambaForCausalLM` and those of the original repository once they are
 * stored as safetensors.
 */
import { split, type Tensor } from "../graph/tensor.ts"
import { conv1dSilu, embed, linear, rmsnorm, scan } from "../ops/index.ts"
import { type Config, Fields, refuse } from "./config.ts"
import type { Family, ForwardContext, LanguageModel, StateSpec, WeightSpec } from "./family.ts"

/** Sizes as in the paper: D hidden, E inner channels, N state per channel, R rank of Δ, W width of the convolution. */
interface MambaConfig {
  hiddenSize: number
  intermediateSize: number
  stateSize: number
  timeStepRank: number
  convKernel: number
  numHiddenLayers: number
  vocabSize: number
  vocabRows: number
  layerNormEpsilon: number
  useBias: boolean
  useConvBias: boolean
  tieWordEmbeddings: boolean
}

/** More would be a damaged file: every layer is listed before the checkpoint is looked at. */
const mostLayers = 10_000

const isHuggingFace = (config: Config): boolean =>
  config.model_type === "mamba" || (Array.isArray(config.architectures) && config.architectures.includes("MambaForCausalLM"))
const isOriginal = (config: Config): boolean =>
  config.model_type === undefined && config.d_model !== undefined && config.n_layer !== undefined && config.ssm_cfg !== undefined

/** ⌈D / 16⌉ where the configuration says "auto". */
function rank(fields: Fields, config: Config, name: string, hiddenSize: number): number {
  return config[name] === "auto" ? Math.ceil(hiddenSize / 16) : fields.size(name, Math.ceil(hiddenSize / 16))
}

/** ⌊expand · D⌋, which must be at least one channel. */
function innerSize(fields: Fields, hiddenSize: number): number {
  const expand = fields.positive("expand", 2)
  const size = Math.floor(expand * hiddenSize)
  if (size < 1) throw refuse("expand", expand, `which leaves no channels of hidden size ${hiddenSize}`, "Give at least 1 / hidden size.")
  return size
}

/** The layout of transformers. Older files repeat some sizes under the original names; what they repeat must be the same. */
function parseHuggingFace(config: Config): MambaConfig {
  const fields = new Fields(config)
  const hiddenSize = fields.size("hidden_size", 768)
  const stated = fields.has("intermediate_size") && !fields.has("expand")
  const intermediateSize = stated ? fields.size("intermediate_size", 0) : innerSize(fields, hiddenSize)
  const numHiddenLayers = fields.size("num_hidden_layers", 32, mostLayers)
  fields.agrees("intermediate_size", intermediateSize, "expand · hidden_size makes it")
  fields.agrees("d_inner", intermediateSize, "expand · hidden_size makes it")
  fields.agrees("d_model", hiddenSize, "hidden_size is")
  fields.agrees("n_layer", numHiddenLayers, "num_hidden_layers is")
  fields.only("hidden_act", ["silu", "swish"], "which the convolution kernel does not have", 'Only "silu" is supported.')
  fields.only("rms_norm", [true], "but only RMSNorm is supported", "Use a checkpoint with rms_norm: true.")
  const vocabSize = fields.size("vocab_size", 50280)
  return {
    ...{ hiddenSize, intermediateSize, numHiddenLayers, vocabSize, vocabRows: vocabSize },
    stateSize: fields.size("state_size", 16),
    timeStepRank: rank(fields, config, "time_step_rank", hiddenSize),
    convKernel: fields.size("conv_kernel", 4),
    layerNormEpsilon: fields.positive("layer_norm_epsilon", 1e-5),
    useBias: fields.flag("use_bias", false),
    useConvBias: fields.flag("use_conv_bias", true),
    tieWordEmbeddings: fields.flag("tie_word_embeddings", true),
  }
}

/** What `ssm_cfg` may hold: sizes, and settings of initialization and speed that change no answer. */
const ssmFields = ["layer", "d_state", "d_conv", "expand", "dt_rank", "conv_bias", "bias"]
const idleFields = ["dt_min", "dt_max", "dt_init", "dt_scale", "dt_init_floor", "use_fast_path"]

/** The layout of the original repository. Its vocabulary is unpadded, its embedding padded to a multiple. */
function parseOriginal(config: Config): MambaConfig {
  const fields = new Fields(config)
  const ssm = fields.object("ssm_cfg")
  const inner = new Fields(ssm, "ssm_cfg.")
  const another = "Load a checkpoint of pure Mamba-1 layers."
  inner.only("layer", ["Mamba1"], "a layer of another family", another)
  for (const name of Object.keys(ssm)) {
    if (![...ssmFields, ...idleFields].includes(name)) throw refuse(`ssm_cfg.${name}`, ssm[name], "which Mamba-1 does not have", another)
  }
  fields.only("d_intermediate", [0], "but layers with an MLP are not supported", another)
  fields.only("attn_layer_idx", [[]], "but attention layers are not supported", another)
  fields.only("rms_norm", [true], "but only RMSNorm is supported", "Use a checkpoint with rms_norm: true.")
  const hiddenSize = fields.size("d_model", 2560)
  const vocabSize = fields.size("vocab_size", 50277)
  const multiple = fields.size("pad_vocab_size_multiple", 8)
  return {
    ...{ hiddenSize, vocabSize, vocabRows: Math.ceil(vocabSize / multiple) * multiple },
    intermediateSize: innerSize(inner, hiddenSize),
    numHiddenLayers: fields.size("n_layer", 64, mostLayers),
    stateSize: inner.size("d_state", 16),
    timeStepRank: rank(inner, ssm, "dt_rank", hiddenSize),
    convKernel: inner.size("d_conv", 4),
    layerNormEpsilon: 1e-5,
    useBias: inner.flag("bias", false),
    useConvBias: inner.flag("conv_bias", true),
    tieWordEmbeddings: fields.flag("tie_embeddings", true),
  }
}

const embeddings = "backbone.embeddings.weight"
const head = "lm_head.weight"
const normF = "backbone.norm_f.weight"

function layerWeights(config: MambaConfig, layer: number): WeightSpec[] {
  const { hiddenSize: d, intermediateSize: e, stateSize: n, timeStepRank: r, convKernel: w, useBias, useConvBias } = config
  const shapes: [name: string, shape: number[], present: boolean][] = [
    ["norm.weight", [d], true],
    ["mixer.in_proj.weight", [2 * e, d], true],
    ["mixer.in_proj.bias", [2 * e], useBias],
    ["mixer.conv1d.weight", [e, 1, w], true],
    ["mixer.conv1d.bias", [e], useConvBias],
    ["mixer.x_proj.weight", [r + 2 * n, e], true],
    ["mixer.dt_proj.weight", [e, r], true],
    ["mixer.dt_proj.bias", [e], true],
    ["mixer.A_log", [e, n], true],
    ["mixer.D", [e], true],
    ["mixer.out_proj.weight", [d, e], true],
    ["mixer.out_proj.bias", [d], useBias],
  ]
  return shapes.filter(([, , present]) => present).map(([name, shape]) => ({ key: `backbone.layers.${layer}.${name}`, shape }))
}

/** A tied checkpoint may hold the head a second time; the embedding is what counts, as in transformers. */
function weightSpecs(config: MambaConfig): WeightSpec[] {
  const { numHiddenLayers, vocabRows, hiddenSize, tieWordEmbeddings } = config
  const matrix = [vocabRows, hiddenSize]
  return [
    { key: embeddings, shape: matrix, aliases: ["backbone.embedding.weight"] },
    ...Array.from({ length: numHiddenLayers }, (_, layer) => layerWeights(config, layer)).flat(),
    { key: normF, shape: [hiddenSize] },
    { key: head, shape: matrix, ...(tieWordEmbeddings && { optional: true, unused: true }) },
  ]
}

function stateSpecs({ intermediateSize: e, stateSize: n, convKernel: w, numHiddenLayers }: MambaConfig): StateSpec[] {
  return Array.from({ length: numHiddenLayers }, (_, layer): StateSpec[] => [
    { name: `layers.${layer}.conv`, shape: [w - 1, e], external: [e, w - 1] },
    { name: `layers.${layer}.ssm`, shape: [n, e], external: [e, n] },
  ]).flat()
}

/**
 * x + out_proj(scan(…)): the residual block of figure 3 of arXiv 2312.00752, x f32[b, l, D]. in_proj makes u | z, the convolved u gives
 * Δ's low rank | B | C through x_proj, and the scan is gated by z.
 */
function block(context: ForwardContext, config: MambaConfig, layer: number, x: Tensor): Tensor {
  const { stateSize: n, timeStepRank, layerNormEpsilon: eps, useBias, useConvBias } = config
  const { lens, compute } = context
  const matrix = (name: string): Tensor => context.weight(`backbone.layers.${layer}.${name}`)
  const vector = (name: string): Tensor => context.weight(`backbone.layers.${layer}.${name}`, "f32")
  const turned = (name: string, as: "f32" | "negexp"): Tensor => context.weight(`backbone.layers.${layer}.${name}`, as, { transpose: true })
  const project = (name: string, input: Tensor, options: { bias?: boolean; residual?: Tensor } = {}): Tensor =>
    context.at(name, () => {
      const bias = options.bias ? vector(`mixer.${name}.bias`) : undefined
      return linear(input, matrix(`mixer.${name}.weight`), { bias, residual: options.residual, lens, compute })
    })

  const normed = context.at("norm", () => rmsnorm(x, { weight: vector("norm.weight"), eps, lens }))
  const [u, z] = split(project("in_proj", normed, { bias: useBias })) as [Tensor, Tensor]
  const convolved = context.at("conv1d", () => {
    const bias = useConvBias ? vector("mixer.conv1d.bias") : undefined
    return conv1dSilu(u, turned("mixer.conv1d.weight", "f32"), { bias, state: context.state(`layers.${layer}.conv`), lens })
  })
  const [low, B, C] = split(project("x_proj", convolved), [timeStepRank, n, n]) as [Tensor, Tensor, Tensor]
  const dt = project("dt_proj", low, { bias: true })
  context.capture(layer, "dt", dt)
  context.capture(layer, "B", B)
  context.capture(layer, "C", C)
  const y = context.at("scan", () => {
    const [A, D, state] = [turned("mixer.A_log", "negexp"), vector("mixer.D"), context.state(`layers.${layer}.ssm`)]
    return scan(convolved, dt, { A, B, C, D, z, state, lens })
  })
  return project("out_proj", y, { bias: useBias, residual: x })
}

/** Embedding, the blocks, and the final norm: section 3.4 of arXiv 2312.00752. Without positions: order is the scan's business. */
function forward(context: ForwardContext, config: MambaConfig): Tensor {
  const { tokens, lens } = context
  const { numHiddenLayers, layerNormEpsilon: eps } = config
  let x = context.at("mamba.ts embedding", () => embed(tokens, context.weight(embeddings), { lens }))
  context.hidden(0, x)
  for (let layer = 0; layer < numHiddenLayers; layer++) {
    x = context.at(`mamba.ts layer ${layer}`, () => block(context, config, layer, x))
    if (layer + 1 < numHiddenLayers) context.hidden(layer + 1, x)
  }
  const y = context.at("mamba.ts norm_f", () => rmsnorm(x, { weight: context.weight(normF, "f32"), eps, lens }))
  context.hidden(numHiddenLayers, y)
  return y
}

/** Under transformers' names, so that both layouts of one model have one fingerprint. */
function fingerprint(config: MambaConfig): LanguageModel["fingerprint"] {
  return {
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    state_size: config.stateSize,
    time_step_rank: config.timeStepRank,
    conv_kernel: config.convKernel,
    num_hidden_layers: config.numHiddenLayers,
    vocab_size: config.vocabSize,
    layer_norm_epsilon: config.layerNormEpsilon,
    use_bias: config.useBias,
    use_conv_bias: config.useConvBias,
    tie_word_embeddings: config.tieWordEmbeddings,
  }
}

export const mamba: Family = {
  name: "mamba",
  matches: (config) => isHuggingFace(config) || isOriginal(config),
  parse(raw) {
    const config = isHuggingFace(raw) ? parseHuggingFace(raw) : parseOriginal(raw)
    const { hiddenSize, numHiddenLayers, vocabSize, vocabRows, tieWordEmbeddings } = config
    return {
      ...{ family: "mamba", hiddenSize, numHiddenLayers, vocabSize, vocabRows },
      captures: ["dt", "B", "C"],
      fingerprint: fingerprint(config),
      weights: weightSpecs(config),
      state: stateSpecs(config),
      forward: (context) => forward(context, config),
      headKey: () => (tieWordEmbeddings ? embeddings : head),
    }
  },
}
