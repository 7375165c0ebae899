// @ts-check The random Mamba-1 of benches/model/random.mjs as GGUF v3 with f32, f16 or q8_0 matrices, for llama.cpp. 1-D tensors, A, D and
//   the convolution stay F32, as its converter does; a matrix whose rows are not whole blocks of 32 stays F16 beside q8_0.
//   node make-gguf.mjs mamba-130m OUT.gguf [f16]
import { closeSync, openSync, writeSync } from "node:fs"
import { Random, shapes, tensorsOf } from "../model/random.mjs"

const [name = "mamba-130m", out = "mamba.gguf", type = "f16"] = process.argv.slice(2)
const shape = shapes[name]
if (!shape) throw new Error(`unknown shape ${name}; known: ${Object.keys(shapes).join(", ")}`)

const f32 = new Float32Array(1)
const u32 = new Uint32Array(f32.buffer)
/** IEEE binary16, round to nearest even; the weights here are within its normal and subnormal range. @param {number} x */
function toF16(x) {
  f32[0] = x
  const bits = /** @type {number} */ (u32[0])
  const sign = (bits >>> 16) & 0x8000
  const exponent = ((bits >>> 23) & 255) - 112
  if (exponent < -10) return sign
  const mantissa = (bits & 0x7fffff) | (exponent > 0 ? 0 : 0x800000)
  const shift = exponent > 0 ? 13 : 14 - exponent
  const half = 2 ** (shift - 1)
  const rest = mantissa & (2 * half - 1)
  let h = mantissa >>> shift
  if (rest > half || (rest === half && h & 1)) h++
  return sign | ((exponent > 0 ? exponent << 10 : 0) + h)
}

/** Blocks of 32 values: their scale as f16, then a byte each. @param {Float32Array} values */
function toQ8(values) {
  const bytes = new Uint8Array((values.length / 32) * 34)
  const view = new DataView(bytes.buffer)
  for (let block = 0; block < values.length / 32; block++) {
    const part = values.subarray(32 * block, 32 * block + 32)
    const scale = part.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / 127
    view.setUint16(34 * block, toF16(scale), true)
    part.forEach((x, i) => {
      view.setInt8(34 * block + 2 + i, scale === 0 ? 0 : Math.round(x / scale))
    })
  }
  return bytes
}

/** How a tensor is stored: its number in GGUF, the bytes of `n` values, the bytes themselves.
 * @typedef {{ id: number, fileType: number, bytes: (n: number) => number, encode: (values: Float32Array) => Uint8Array }} Storage */
/** @type {Record<string, Storage>} */
const storages = {
  f32: { id: 0, fileType: 0, bytes: (n) => 4 * n, encode: (values) => new Uint8Array(values.buffer) },
  f16: { id: 1, fileType: 1, bytes: (n) => 2 * n, encode: (values) => new Uint8Array(Uint16Array.from(values, toF16).buffer) },
  q8_0: { id: 8, fileType: 7, bytes: (n) => (n / 32) * 34, encode: toQ8 },
}
const { f32: plain, f16, [type]: asked } = /** @type {Record<string, Storage>} */ (storages)
if (!asked || !plain || !f16) throw new Error(`unknown type ${type}; known: ${Object.keys(storages).join(", ")}`)

/** Growing little-endian byte writer. */
class Bytes {
  /** @type {Buffer[]} */
  parts = []
  length = 0
  /** @param {Buffer} b */
  raw(b) {
    this.parts.push(b)
    this.length += b.length
  }
  /** @param {number} v */
  u32(v) {
    const b = Buffer.alloc(4)
    b.writeUInt32LE(v)
    this.raw(b)
  }
  /** @param {number} v */
  u64(v) {
    const b = Buffer.alloc(8)
    b.writeBigUInt64LE(BigInt(v))
    this.raw(b)
  }
  /** @param {string} s */
  str(s) {
    const b = Buffer.from(s, "utf8")
    this.u64(b.length)
    this.raw(b)
  }
}

/** A vocabulary that loads: the 256 byte tokens, then words that no text reaches. @param {number} size */
function vocabulary(size) {
  const printable = (/** @type {number} */ b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255)
  /** @type {string[]} */
  const tokens = []
  let extra = 256
  for (let b = 0; b < 256; b++) tokens.push(String.fromCodePoint(printable(b) ? b : extra++))
  const merge = "a b"
  tokens.push("ab")
  while (tokens.length < size - 1) tokens.push(`\u0120w${tokens.length}`)
  tokens.push("<|endoftext|>")
  return { tokens, merges: [merge], types: tokens.map((_, i) => (i === size - 1 ? 3 : 1)) }
}

/** @param {import("../model/random.mjs").TensorSpec} t */
const storageOf = (t) => (!t.matrix ? plain : asked.id === 8 && /** @type {number} */ (t.shape.at(-1)) % 32 > 0 ? f16 : asked)
const specs = tensorsOf(shape).map((t) => ({ ...t, count: t.shape.reduce((a, b) => a * b, 1), storage: storageOf(t) }))
const { tokens, merges, types } = vocabulary(shape.vocab)
const [U32, F32, BOOL, STR, ARR] = [4, 6, 7, 8, 9]
/** @type {[string, number, unknown][]} */
const metadata = [
  ["general.architecture", STR, "mamba"],
  ["general.name", STR, `random ${name}`],
  ["general.file_type", U32, asked.fileType],
  ["general.quantization_version", U32, 2],
  ["mamba.context_length", U32, 2 ** 20],
  ["mamba.embedding_length", U32, shape.hiddenSize],
  ["mamba.feed_forward_length", U32, 0],
  ["mamba.attention.head_count", U32, 0],
  ["mamba.block_count", U32, shape.layers],
  ["mamba.vocab_size", U32, shape.vocab],
  ["mamba.attention.layer_norm_rms_epsilon", F32, 1e-5],
  ["mamba.ssm.conv_kernel", U32, shape.conv],
  ["mamba.ssm.inner_size", U32, 2 * shape.hiddenSize],
  ["mamba.ssm.state_size", U32, shape.state],
  ["mamba.ssm.time_step_rank", U32, Math.ceil(shape.hiddenSize / 16)],
  ["mamba.ssm.dt_b_c_rms", BOOL, false],
  ["tokenizer.ggml.model", STR, "gpt2"],
  ["tokenizer.ggml.pre", STR, "gpt-2"],
  ["tokenizer.ggml.tokens", ARR, { type: STR, values: tokens }],
  ["tokenizer.ggml.token_type", ARR, { type: 5, values: types }],
  ["tokenizer.ggml.merges", ARR, { type: STR, values: merges }],
  ["tokenizer.ggml.bos_token_id", U32, shape.vocab - 1],
  ["tokenizer.ggml.eos_token_id", U32, shape.vocab - 1],
  ["tokenizer.ggml.add_bos_token", BOOL, false],
]

const h = new Bytes()
/** @param {number} type @param {any} v */
function value(type, v) {
  if (type === STR) h.str(v)
  else if (type === BOOL) h.raw(Buffer.from([v ? 1 : 0]))
  else if (type === F32) h.raw(Buffer.from(new Float32Array([v]).buffer))
  else if (type === ARR) {
    h.u32(v.type)
    h.u64(v.values.length)
    for (const x of v.values) value(v.type, x)
  } else h.u32(v)
}
h.raw(Buffer.from("GGUF"))
h.u32(3)
h.u64(specs.length)
h.u64(metadata.length)
for (const [key, type, v] of metadata) {
  h.str(key)
  h.u32(type)
  value(type, v)
}
let offset = 0
for (const s of specs) {
  const dims = s.shape.filter((_, i) => !(s.shape.length === 3 && i === 1)).reverse()
  h.str(s.gguf)
  h.u32(dims.length)
  for (const n of dims) h.u64(n)
  h.u32(s.storage.id)
  h.u64(offset)
  offset += Math.ceil(s.storage.bytes(s.count) / 32) * 32
}
const file = openSync(out, "w")
const pad = (/** @type {number} */ n) => writeSync(file, Buffer.alloc((32 - (n % 32)) % 32))
writeSync(file, Buffer.concat(h.parts))
pad(h.length)
const random = new Random(shape.seed)
for (const s of specs) {
  const values = new Float32Array(s.count)
  s.fill(random, values)
  // GGUF holds A itself, not its logarithm.
  if (s.gguf.endsWith("ssm_a"))
    values.forEach((x, i) => {
      values[i] = -Math.exp(x)
    })
  const bytes = s.storage.encode(values)
  for (let at = 0; at < bytes.length; at += 2 ** 28) writeSync(file, bytes, at, Math.min(2 ** 28, bytes.length - at))
  pad(bytes.length)
}
closeSync(file)
console.log(JSON.stringify({ out, bytes: h.length + offset, parameters: specs.reduce((a, s) => a + s.count, 0) }))
