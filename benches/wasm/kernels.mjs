// @ts-check Kernels of the WebAssembly engine on one thread in Node, interleaved: medians of CPU time, beside what this machine's own
//   multiplications and additions, and reads, come to in WebAssembly. One object on stdout.
//   node [--experimental-wasm-relaxed-simd] benches/wasm/kernels.mjs [runs] [glue.js module.wasm...]
//   Several modules of one glue take turns; Node 20 needs the flag for those with relaxed SIMD.
import { readFileSync } from "node:fs"
import binaryen from "binaryen"

const [runs = "15", glue = "wasm/engine.js", ...given] = process.argv.slice(2)
const { instantiate } = await import(new URL(`../../${glue}`, import.meta.url).href)
const shells = (given.length > 0 ? given : ["wasm/engine.wasm"]).map((file) =>
  instantiate({ module: readFileSync(new URL(`../../${file}`, import.meta.url)) }),
)
/** @type {{ opset: string, isas: string[] }[]} */
const infos = shells.map((shell) => JSON.parse(shell.info()))
const opset = infos[0]?.opset

/** @typedef {{ run: () => void, unit: string, amount: number }} Bench `amount` units of work a run. */
/** @typedef {(engine: any) => Bench} Maker */

/** Twelve chains of a multiplication and an addition: what hides the latency of both, and fits the registers of any engine. */
const chains = Array.from({ length: 12 }, (_, i) => `$s${i}`)
const limits = binaryen.parseText(`(module (memory (export "memory") 256)
  (func (export "multiplyAdd") (param $n i32) (result f32) ${chains.map((s) => `(local ${s} v128)`).join(" ")} (local $a v128)
    (local.set $a (f32x4.splat (f32.const 0.9)))
    (loop $again
      ${chains.map((s) => `(local.set ${s} (f32x4.add (f32x4.mul (local.get ${s}) (local.get $a)) (local.get $a)))`).join("\n")}
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (f32x4.extract_lane 0 ${chains.map((s) => `(local.get ${s})`).reduce((x, y) => `(f32x4.add ${x} ${y})`)}))
  (func (export "read") (param $end i32) (result i32) (local $a v128) (local $b v128) (local $at i32)
    (loop $again
      (local.set $a (v128.xor (local.get $a) (v128.load (local.get $at))))
      (local.set $b (v128.xor (local.get $b) (v128.load offset=16 (local.get $at))))
      (br_if $again (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 32))) (local.get $end))))
    (i32x4.extract_lane 0 (v128.xor (local.get $a) (local.get $b)))))`)
limits.setFeatures(binaryen.Features.SIMD128)
const { WebAssembly } = /** @type {any} */ (globalThis)
const limit = new WebAssembly.Instance(new WebAssembly.Module(limits.emitBinary())).exports

// Pages that nobody wrote are all one page of zeros, in the nearest cache.
new Uint8Array(limit.memory.buffer).fill(1)

const sizes = /** @type {Record<string, number>} */ ({ f32: 4, bf16: 2 })

/**
 * A plan of one node, all operands inputs, filled with small numbers.
 * @param {string} op
 * @param {[name: string, shape: number[], dtype?: string][]} inputs
 * @param {(string | null)[]} order The inputs as the table has them.
 * @param {number[]} shape Of the output.
 * @param {object} attrs
 * @param {Pick<Bench, "unit" | "amount">} per
 * @param {Record<string, number[]>} states
 * @returns {Maker}
 */
function node(op, inputs, order, shape, attrs, per, states = {}) {
  /** @type {Record<string, number>} */
  const ids = {}
  const spaces = { temp: 0, state: 0, io: 0 }
  /** @type {object[]} */
  const buffers = []
  const place = (/** @type {string} */ name, /** @type {number[]} */ shape, /** @type {"io" | "state"} */ space, dtype = "f32") => {
    const bytes = shape.reduce((x, y) => x * y, 1) * (sizes[dtype] ?? 0)
    ids[name] = buffers.length
    buffers.push({ id: buffers.length, name, dtype, shape, space, offset: spaces[space], bytes })
    spaces[space] += Math.ceil(bytes / 256) * 256
  }
  for (const [name, shape, dtype] of inputs) place(name, shape, "io", dtype)
  for (const [name, shape] of Object.entries(states)) place(name, shape, "state")
  place("y", shape, "io")
  const of = (/** @type {string[]} */ names) => Object.fromEntries(names.map((name) => [name, ids[name]]))
  const plan = {
    ...{ format: 1, opset, name: op, spaces, weights: [], buffers },
    nodes: [{ id: 0, op, in: order.map((name) => (name === null ? null : ids[name])), out: [ids.y], attrs, at: op }],
    ...{ inputs: of(inputs.map(([name]) => name)), outputs: of(["y"]), state: of(Object.keys(states)) },
  }
  return (engine) => {
    const program = engine.load(JSON.stringify(plan))
    const state = engine.state(program)
    for (const [name, shape, dtype] of inputs) {
      const values = Float32Array.from({ length: shape.reduce((x, y) => x * y, 1) }, (_, i) => (((i * 7919) % 1000) - 600) / 1000)
      const halves = dtype === "bf16" ? Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16) : values
      engine.write(program, name, new Uint8Array(halves.buffer))
    }
    const run = () => {
      engine.start(program, state, 1)
      while (!engine.advance()) {}
    }
    return { run, ...per }
  }
}

/** @param {number} l @param {number} k @param {number} m */
function linear(l, k, m, decode = false) {
  const inputs = /** @type {[string, number[], string?][]} */ ([["x", [1, l, k]], ["weight", [m, k], "bf16"]]) // biome-ignore format: a table
  const per = decode ? { unit: "GB/s", amount: (m * k * 2) / 1e9 } : { unit: "GFLOP/s", amount: (2 * l * m * k) / 1e9 }
  return node("linear", inputs, ["x", "weight", null, null, null], [1, l, m], { compute: "f32" }, per)
}
const [e, n] = [1536, 16]
/** @param {number} l */
const scan = (l) =>
  node(
    "scan",
    [
      ...["u", "dt", "z"].map((name) => /** @type {[string, number[]]} */ ([name, [1, l, e]])),
      ["A", [n, e]],
      ["B", [1, l, n]],
      ["C", [1, l, n]],
      ["D", [e]],
    ],
    ["u", "dt", "A", "B", "C", "D", "z", "D", "h", null],
    [1, l, e],
    { softplus: true, groups: 1 },
    { unit: "ns an update", amount: l * e * n },
    { h: [1, n, e] },
  )
/** @param {number} l */
const convolution = (l) =>
  node(
    "conv1d_silu",
    [
      ["x", [1, l, e]],
      ["weight", [4, e]],
      ["bias", [e]],
    ],
    ["x", "weight", "bias", "past", null],
    [1, l, e],
    {},
    { unit: "ns an output", amount: l * e },
    { past: [1, 3, e] },
  )

/** @type {Record<string, Maker>} */
const makers = {
  "limit: multiply and add": () => ({ run: () => limit.multiplyAdd(1e7), unit: "GFLOP/s", amount: (1e7 * 96) / 1e9 }),
  "limit: read 16 MB": () => ({ run: () => limit.read(2 ** 24), unit: "GB/s", amount: 2 ** 24 / 1e9 }),
  "linear 512 x 768 x 3072": linear(512, 768, 3072),
  "linear 512 x 1536 x 768": linear(512, 1536, 768),
  "linear 1 x 768 x 12288": linear(1, 768, 12288, true),
  "linear 4 x 768 x 12288": linear(4, 768, 12288, true),
  "scan of 512": scan(512),
  "scan of 1": scan(1),
  "convolution of 512": convolution(512),
  "convolution of 1": convolution(1),
}

const engines = shells.map((shell) => new shell.WasmEngine("{}"))
const benches = Object.fromEntries(
  Object.entries(makers).flatMap(([name, make]) =>
    engines.slice(0, name.startsWith("limit") ? 1 : undefined).map((engine, i) => {
      const isa = infos[i]?.isas[0]
      return [engines.length > 1 && !name.startsWith("limit") ? `${name}, ${isa}` : name, make(engine)]
    }),
  ),
)

/** @param {Bench} bench Seconds of CPU time. */
function time({ run }, times = 1) {
  const start = process.cpuUsage()
  for (let i = 0; i < times; i++) run()
  const { user, system } = process.cpuUsage(start)
  return (user + system) / 1e6 / times
}

// An engine compiles a loop well only after a while, in the background; a run takes 10 ms at least, since the clock has steps.
const times = Object.fromEntries(
  Object.entries(benches).map(([name, bench]) => [name, Math.max(1, Math.round(0.01 / Math.max(time(bench, 5), 1e-6)))]),
)
for (const [name, bench] of Object.entries(benches)) time(bench, 20 * (times[name] ?? 1))
const found = Object.fromEntries(Object.keys(benches).map((name) => [name, /** @type {number[]} */ ([])]))
for (let run = 0; run < Number(runs); run++)
  for (const [name, bench] of Object.entries(benches)) found[name]?.push(time(bench, times[name]))

const results = Object.entries(benches).map(([name, { unit, amount }]) => {
  const seconds = (found[name] ?? []).sort((x, y) => x - y)[Number(runs) >> 1] ?? Number.NaN
  const value = unit.startsWith("ns") ? (seconds * 1e9) / amount : amount / seconds
  return { name, value: Number(value.toPrecision(3)), unit }
})
console.log(JSON.stringify({ node: process.version, isas: infos.map(({ isas }) => isas[0]), runs: Number(runs), results }, null, 1))
