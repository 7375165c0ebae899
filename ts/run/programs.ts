/** The programs of a language model, as `spec/plan.md` lists them. The same arguments give the same plan, byte for byte. */
import { Graph } from "../graph/graph.ts"
import { misuse, type Tensor } from "../graph/tensor.ts"
import type { ForwardContext, LanguageModel, TensorTable } from "../models/family.ts"
import { cast, linear, linearCrossEntropy, sample, softplus, sumRows } from "../ops/index.ts"
import { lower } from "../plan/lower.ts"
import type { Plan } from "../plan/types.ts"

interface Common {
  /** Rows of the batch. */
  b: number
  /** "bf16" rounds the inputs of matrix products to bf16. Default "f32". */
  compute?: "f32" | "bf16"
}
/** Feeds up to `l` tokens of each row. What is not asked for is not computed. */
export interface ChunkSpec extends Common {
  kind: "chunk"
  l: number
  /** Output `logits` f32[b, l, vocabRows]. */
  logits?: boolean
  /** Input `targets` i32[b, l], output `nll` f32[b, l]. */
  targets?: boolean
  /** Outputs `hidden.{i}` f32[b, l, d]: the embedding, then after each layer, the last one after the final norm. */
  hidden?: boolean
  /** Adds the final-norm rows to state `pool`. */
  pool?: boolean
  /** Outputs `capture.{layer}.{name}` f32[b, l, …]; `dt` is Δ after softplus. */
  capture?: readonly string[]
}
/**
 * One token a row, from state `tokens`: its logits, and for `step` the next token, one slot of the outputs for each step of a run. `sample`
 * draws from given logits.
 */
export type ProgramSpec = ChunkSpec | (Common & { kind: "logits" | "step" | "sample" })

/** Slots of the outputs `token` and `logprob`. */
const stepSlots = 8
/** Places for eos ids; unused ones hold −1. */
const eosSlots = 16

type State = Record<"tokens" | "lens" | "rng" | "sampler" | "eos" | "seen" | "pool", Tensor>

/** All programs of a model at one b declare these, in this order, whether they use them or not. */
function declareState(graph: Graph, model: LanguageModel, b: number): State {
  const state: State = {
    tokens: graph.stateBuffer("tokens", "i32", [b, 1]),
    lens: graph.stateBuffer("lens", "i32", [b]),
    rng: graph.stateBuffer("rng", "u32", [b, 4]),
    sampler: graph.stateBuffer("sampler", "f32", [b, 8]),
    eos: graph.stateBuffer("eos", "i32", [eosSlots]),
    seen: graph.stateBuffer("seen", "u8", [b, Math.ceil(model.vocabRows / 8)]),
    pool: graph.stateBuffer("pool", "f32", [b, model.hiddenSize]),
  }
  for (const { name, shape } of model.state) graph.stateBuffer(name, "f32", [b, ...shape])
  return state
}

/** The kernels' shape of a transposed tensor: its first axis against all others, which is a swap once axes of length 1 are gone. */
function turned(shape: readonly number[]): number[] {
  const [first = 1, ...rest] = shape
  return [rest.reduce((product, size) => product * size, 1), first]
}

/** One program in the making. */
class Builder {
  readonly graph: Graph = new Graph()
  readonly state: State
  readonly #model: LanguageModel
  readonly #tensors: TensorTable
  readonly #spec: ProgramSpec

  constructor(model: LanguageModel, tensors: TensorTable, spec: ProgramSpec) {
    this.#model = model
    this.#tensors = tensors
    this.#spec = spec
    this.state = declareState(this.graph, model, spec.b)
  }

  get #compute(): "f32" | "bf16" {
    return this.#spec.compute ?? "f32"
  }

  readonly #weight: ForwardContext["weight"] = (key, as = "stored", { transpose = false } = {}) => {
    const stored = this.#tensors.get(key)
    if (stored === undefined) throw misuse(`the checkpoint holds no tensor ${key}`, this.graph.label)
    const shape = transpose ? turned(stored.shape) : stored.shape
    return this.graph.weight(key, { as, transpose }, as === "stored" ? stored.dtype : "f32", shape)
  }

  /** A value that other outputs or a view may already stand for is copied. */
  #output(name: string, tensor: Tensor): void {
    const { graph, state } = this
    const taken = tensor.origin.kind !== "node" || [...graph.outputs.values()].includes(tensor)
    graph.output(name, taken ? graph.at(name, () => cast(tensor, "f32", { lens: state.lens })) : tensor)
  }

  /** From tokens to the final-norm rows. */
  layers(tokens: Tensor): Tensor {
    const { graph } = this
    const { lens } = this.state
    const { hidden = false, capture = [] } = this.#spec.kind === "chunk" ? this.#spec : {}
    return this.#model.forward({
      ...{ tokens, lens, compute: this.#compute, weight: this.#weight },
      has: (key) => this.#tensors.has(key),
      state: (name) => {
        const tensor = graph.state.get(name)
        if (tensor === undefined) throw misuse(`the model declares no state ${name}`, graph.label)
        return tensor
      },
      hidden: (index, x) => {
        if (hidden) this.#output(`hidden.${index}`, x)
      },
      capture: (layer, name, x) => {
        if (!capture.includes(name)) return
        const shown = name === "dt" ? graph.at("capture", () => softplus(x, { lens })) : x
        this.#output(`capture.${layer}.${name}`, shown)
      },
      at: (label, body) => graph.at(label, body),
    })
  }

  get #head(): Tensor {
    return this.#weight(this.#model.headKey((key) => this.#tensors.has(key)))
  }

  /** All rows of the head, padding included. */
  logits(x: Tensor): Tensor {
    return this.graph.at("head", () => linear(x, this.#head, { lens: this.state.lens, compute: this.#compute }))
  }

  chunk(spec: ChunkSpec): void {
    const { graph, state } = this
    const shape = [spec.b, spec.l]
    const tokens = graph.input("tokens", "i32", shape)
    const targets = spec.targets ? graph.input("targets", "i32", shape) : undefined
    const x = this.layers(tokens)
    if (spec.pool) graph.at("pool", () => sumRows(x, state.pool, { lens: state.lens }))
    if (spec.logits) this.#output("logits", this.logits(x))
    if (targets !== undefined) {
      const options = { lens: state.lens, vocab: this.#model.vocabSize, compute: this.#compute }
      const nll = graph.at("loss", () => linearCrossEntropy(x, this.#head, targets, options))
      this.#output("nll", nll)
    }
  }

  /** The last node, for it changes `tokens` and `lens`. */
  sample(logits: Tensor): void {
    const options = { vocab: this.#model.vocabSize, steps: stepSlots }
    const { token, logprob } = this.graph.at("sample", () => sample({ logits, ...this.state }, options))
    this.#output("token", token)
    this.#output("logprob", logprob)
  }

  single(kind: "logits" | "step" | "sample"): void {
    const shape = [this.#spec.b, 1, this.#model.vocabRows]
    const logits = kind === "sample" ? this.graph.input("logits", "f32", shape) : this.logits(this.layers(this.state.tokens))
    if (kind === "logits") this.#output("logits", logits)
    else this.sample(logits)
  }
}

function programName(model: LanguageModel, spec: ProgramSpec): string {
  const options = spec.kind === "chunk" ? (["logits", "targets", "hidden", "pool"] as const).filter((name) => spec[name]) : []
  const words = [
    `${model.family}/${spec.kind}`,
    `b${spec.b}`,
    ...(spec.kind === "chunk" ? [`l${spec.l}`, ...options, ...(spec.capture ?? [])] : []),
    ...(spec.compute === "bf16" ? ["bf16"] : []),
  ]
  return words.join(" ")
}

/** The plan of one program of a model, for the tensors that its checkpoint holds. */
export function buildProgram(model: LanguageModel, tensors: TensorTable, spec: ProgramSpec): Plan {
  const builder = new Builder(model, tensors, spec)
  if (spec.kind === "chunk") builder.chunk(spec)
  else builder.single(spec.kind)
  return lower(builder.graph, programName(model, spec))
}
