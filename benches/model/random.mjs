// @ts-check Random weights of a Mamba-1 shape, the same values for every container: a Hugging Face folder (bf16) for this package, a GGUF
//   file (F16) for peers. Deterministic for a seed. Values follow the article's initialization (A = -(1..n), softplus(dt bias) log-uniform
//   in [1e-3, 1e-1]), so that a run meets no denormals, NaN or saturated exponentials.
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"

/** @typedef {{ hiddenSize: number, layers: number, vocab: number, state: number, conv: number, seed: number }} Shape */
/** @typedef {{ hf: string, gguf: string, shape: number[], matrix: boolean, fill: (random: Random, out: Float32Array) => void }} TensorSpec */

/** The published sizes. @type {Record<string, Shape>} */
export const shapes = {
  "mamba-130m": { hiddenSize: 768, layers: 24, vocab: 50280, state: 16, conv: 4, seed: 1234 },
  "mamba-370m": { hiddenSize: 1024, layers: 48, vocab: 50280, state: 16, conv: 4, seed: 1234 },
}

/** xorshift128 with normal deviates by Box–Muller: fast enough to fill 130M values in seconds. */
export class Random {
  /** @param {number} seed */
  constructor(seed) {
    this.s = new Uint32Array([seed, 0x9e3779b9, 0x85ebca6b, 0xc2b2ae35])
    /** @type {number | undefined} */
    this.spare = undefined
    for (let i = 0; i < 16; i++) this.uniform()
  }
  uniform() {
    const s = this.s
    let t = /** @type {number} */ (s[3])
    const x = /** @type {number} */ (s[0])
    s[3] = /** @type {number} */ (s[2])
    s[2] = /** @type {number} */ (s[1])
    s[1] = x
    t ^= t << 11
    t ^= t >>> 8
    s[0] = t ^ x ^ (x >>> 19)
    return /** @type {number} */ (s[0] + 0.5) / 4294967296
  }
  normal() {
    if (this.spare !== undefined) {
      const v = this.spare
      this.spare = undefined
      return v
    }
    const r = Math.sqrt(-2 * Math.log(this.uniform()))
    const angle = 2 * Math.PI * this.uniform()
    this.spare = r * Math.sin(angle)
    return r * Math.cos(angle)
  }
}

/** Every tensor in one fixed order. @param {Shape} o @returns {TensorSpec[]} */
export function tensorsOf(o) {
  const d = o.hiddenSize
  const e = 2 * d
  const r = Math.ceil(d / 16)
  /** @type {(std: number) => TensorSpec["fill"]} */
  const normal = (std) => (random, out) =>
    out.forEach((_, i) => {
      out[i] = random.normal() * std
    })
  /** @type {(bound: number) => TensorSpec["fill"]} */
  const uniform = (bound) => (random, out) =>
    out.forEach((_, i) => {
      out[i] = (2 * random.uniform() - 1) * bound
    })
  /** @type {TensorSpec["fill"]} */
  const ones = (_, out) => void out.fill(1)
  /** @type {TensorSpec["fill"]} */
  const dtBias = (random, out) =>
    out.forEach((_, i) => {
      const dt = Math.exp(Math.log(1e-3) + random.uniform() * Math.log(100))
      out[i] = dt + Math.log(-Math.expm1(-dt))
    })
  /** @type {TensorSpec["fill"]} */
  const aLog = (_, out) =>
    out.forEach((_, i) => {
      out[i] = Math.log((i % o.state) + 1)
    })
  /** @type {TensorSpec[]} */
  const list = [
    { hf: "backbone.embeddings.weight", gguf: "token_embd.weight", shape: [o.vocab, d], matrix: true, fill: normal(0.02) },
    { hf: "backbone.norm_f.weight", gguf: "output_norm.weight", shape: [d], matrix: false, fill: ones },
  ]
  for (let i = 0; i < o.layers; i++) {
    const h = `backbone.layers.${i}.`
    const m = `${h}mixer.`
    const g = `blk.${i}.`
    list.push(
      { hf: `${h}norm.weight`, gguf: `${g}attn_norm.weight`, shape: [d], matrix: false, fill: ones },
      { hf: `${m}in_proj.weight`, gguf: `${g}ssm_in.weight`, shape: [2 * e, d], matrix: true, fill: uniform(d ** -0.5) },
      { hf: `${m}conv1d.weight`, gguf: `${g}ssm_conv1d.weight`, shape: [e, 1, o.conv], matrix: false, fill: uniform(o.conv ** -0.5) },
      { hf: `${m}conv1d.bias`, gguf: `${g}ssm_conv1d.bias`, shape: [e], matrix: false, fill: uniform(o.conv ** -0.5) },
      { hf: `${m}x_proj.weight`, gguf: `${g}ssm_x.weight`, shape: [r + 2 * o.state, e], matrix: true, fill: uniform(e ** -0.5) },
      { hf: `${m}dt_proj.weight`, gguf: `${g}ssm_dt.weight`, shape: [e, r], matrix: true, fill: uniform(r ** -0.5) },
      { hf: `${m}dt_proj.bias`, gguf: `${g}ssm_dt.bias`, shape: [e], matrix: false, fill: dtBias },
      { hf: `${m}A_log`, gguf: `${g}ssm_a`, shape: [e, o.state], matrix: false, fill: aLog },
      { hf: `${m}D`, gguf: `${g}ssm_d`, shape: [e], matrix: false, fill: ones },
      {
        hf: `${m}out_proj.weight`,
        gguf: `${g}ssm_out.weight`,
        shape: [d, e],
        matrix: true,
        fill: normal(e ** -0.5 / Math.sqrt(2 * o.layers)),
      },
    )
  }
  return list
}

const f32 = new Float32Array(1)
const u32 = new Uint32Array(f32.buffer)

/** Top half of an f32, rounded to nearest even. @param {number} x */
function toBf16(x) {
  f32[0] = x
  const bits = /** @type {number} */ (u32[0])
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

/** Writes a Hugging Face folder: config.json and one model.safetensors in bf16. @param {Shape} o @param {string} folder */
export function writeCheckpoint(o, folder) {
  mkdirSync(folder, { recursive: true })
  const specs = tensorsOf(o)
  /** @type {Record<string, unknown>} */
  const header = {}
  let offset = 0
  for (const t of specs) {
    const bytes = 2 * t.shape.reduce((a, b) => a * b, 1)
    header[t.hf] = { dtype: "BF16", shape: t.shape, data_offsets: [offset, offset + bytes] }
    offset += bytes
  }
  let text = JSON.stringify(header)
  text += " ".repeat((8 - (text.length % 8)) % 8)
  const file = openSync(join(folder, "model.safetensors"), "w")
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  writeSync(file, length)
  writeSync(file, text)
  const random = new Random(o.seed)
  for (const t of specs) {
    const values = new Float32Array(t.shape.reduce((a, b) => a * b, 1))
    t.fill(random, values)
    writeSync(file, new Uint8Array(Uint16Array.from(values, toBf16).buffer))
  }
  closeSync(file)
  const config = {
    model_type: "mamba",
    architectures: ["MambaForCausalLM"],
    vocab_size: o.vocab,
    hidden_size: o.hiddenSize,
    state_size: o.state,
    num_hidden_layers: o.layers,
    expand: 2,
    intermediate_size: 2 * o.hiddenSize,
    conv_kernel: o.conv,
    use_bias: false,
    use_conv_bias: true,
    hidden_act: "silu",
    layer_norm_epsilon: 1e-5,
    time_step_rank: Math.ceil(o.hiddenSize / 16),
    tie_word_embeddings: true,
    bos_token_id: 0,
    eos_token_id: 0,
    pad_token_id: 0,
  }
  writeFileSync(join(folder, "config.json"), JSON.stringify(config, null, 2))
  // No eos: a bench wants every token it asked for.
  writeFileSync(join(folder, "generation_config.json"), JSON.stringify({ eos_token_id: [], bos_token_id: 0 }))
}
