/** Checkpoints of the published shapes with random weights, for benches: their files are too large to carry to where speed is measured. */
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"
import type { WeightSpec } from "../models/family.ts"
import { mamba } from "../models/mamba.ts"

/** Hidden size and layers of the article's models. */
export const sizes: Readonly<Record<string, readonly [hiddenSize: number, layers: number]>> = {
  "mamba-130m": [768, 24],
  "mamba-370m": [1024, 48],
  "mamba-790m": [1536, 48],
  "mamba-1.4b": [2048, 48],
  "mamba-2.8b": [2560, 64],
}

const stateSize = 16
/** A prime, so that no two rows of a matrix hold the same values though the same ones come again and again. */
const poolLength = 1_000_003

/** Deviates of the standard normal distribution: xorshift128, then Box and Muller. */
function normals(seed: number, count: number): Float32Array {
  let [x, y, z, w] = [seed >>> 0, 0x9e3779b9, 0x85ebca6b, 0xc2b2ae35]
  const uniform = (): number => {
    const t = x ^ (x << 11)
    x = y
    y = z
    z = w
    w = (w ^ (w >>> 19) ^ t ^ (t >>> 8)) >>> 0
    return (w + 0.5) / 2 ** 32
  }
  const values = new Float32Array(count)
  for (let i = 0; i < count; i++) values[i] = Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform())
  return values
}

/** The upper half of each f32, rounded to nearest even. */
function toBf16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer)
  const halves = new Uint16Array(values.length)
  for (let i = 0; i < halves.length; i++) {
    const b = bits[i] as number
    halves[i] = (b + 0x7fff + ((b >>> 16) & 1)) >>> 16
  }
  return halves
}

/** Values to take again and again for tensors of one kind: the article's A = -(1 … N), Δ from 1e-3 to 1e-1, matrices that keep a row's size. */
class Pools {
  readonly #deviates: Float32Array
  readonly #layers: number
  readonly #made = new Map<string, Uint16Array>()

  constructor(seed: number, layers: number) {
    this.#deviates = normals(seed, poolLength)
    this.#layers = layers
  }

  of({ key, shape }: WeightSpec): Uint16Array {
    const kind = `${key.split(".").slice(-2).join(".")} of ${shape.at(-1)}`
    const pool = this.#made.get(kind) ?? toBf16(this.#values(key, shape.at(-1) ?? 1))
    this.#made.set(kind, pool)
    return pool
  }

  #values(key: string, fanIn: number): Float32Array {
    if (/norm\w*\.weight$|mixer\.D$/.test(key)) return new Float32Array(stateSize * 1024).fill(1)
    if (key.endsWith("A_log")) return Float32Array.from({ length: stateSize * 1024 }, (_, i) => Math.log((i % stateSize) + 1))
    if (key.endsWith("dt_proj.bias")) {
      return this.#deviates.map((x) => {
        const dt = 1e-2 * 10 ** Math.max(-1, Math.min(1, x / 2))
        return dt + Math.log(-Math.expm1(-dt))
      })
    }
    const deep = key.endsWith("out_proj.weight") ? Math.sqrt(2 * this.#layers) : 1
    const scale = key.includes("embeddings") ? 0.02 : fanIn ** -0.5 / deep
    return this.#deviates.map((x) => x * scale)
  }
}

const weightsName = "model.safetensors"
const mark = (size: string): string => `random ${size}`

/** Whether the folder is one that `writeRandom` made, whole. */
export function hasRandom(size: string, folder: string): boolean {
  const config = join(folder, "config.json")
  if (!existsSync(config) || !existsSync(join(folder, weightsName))) return false
  const { _name_or_path: name } = JSON.parse(readFileSync(config, "utf8")) as { _name_or_path?: unknown }
  return name === mark(size)
}

/** Writes a Hugging Face folder in bf16, the same bytes for the same seed. */
export function writeRandom(size: string, folder: string, seed = 1): void {
  const [hiddenSize, layers] = sizes[size] as readonly [number, number]
  const config = {
    model_type: "mamba",
    architectures: ["MambaForCausalLM"],
    hidden_size: hiddenSize,
    num_hidden_layers: layers,
    vocab_size: 50_280,
    state_size: stateSize,
    _name_or_path: mark(size),
  }
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, "config.json"), JSON.stringify(config, null, 2))
  // A bench wants every token that it asks for.
  writeFileSync(join(folder, "generation_config.json"), JSON.stringify({ bos_token_id: 0, eos_token_id: [] }))

  const weights = mamba.parse(config).weights.filter(({ optional }) => !optional)
  const count = ({ shape }: WeightSpec): number => shape.reduce((product, axis) => product * axis, 1)
  let end = 0
  const rows = weights.map((spec) => {
    const start = end
    end += 2 * count(spec)
    return [spec.key, { dtype: "BF16", shape: spec.shape, data_offsets: [start, end] }]
  })
  const header = JSON.stringify(Object.fromEntries(rows))
  const text = Buffer.from(header.padEnd(Math.ceil(header.length / 8) * 8))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))

  const pools = new Pools(seed, layers)
  const path = join(folder, weightsName)
  const file = openSync(`${path}.part`, "w")
  try {
    writeSync(file, length)
    writeSync(file, text)
    for (const spec of weights) {
      const pool = pools.of(spec)
      for (let left = count(spec); left > 0; left -= pool.length) {
        const part = pool.subarray(0, left)
        writeSync(file, new Uint8Array(part.buffer, 0, part.byteLength))
      }
    }
  } finally {
    closeSync(file)
  }
  renameSync(`${path}.part`, path)
}
