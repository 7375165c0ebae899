/** `selectiveScan`, the public op: against the golden case and a plain f64 loop, in both layouts, and everything it refuses. */
import { describe, expect, test } from "vitest"
import { OptionError } from "../../ts/errors.ts"
import { Graph } from "../../ts/graph/graph.ts"
import { scan } from "../../ts/ops/index.ts"
import { lower } from "../../ts/plan/lower.ts"
import { asBytes, asFloats } from "../../ts/run/numbers.ts"
import type { SelectiveScanInput } from "../../ts/run/scan.ts"
import { openBackend, selectiveScan } from "../support/backend.ts"
import { golden, relativeError } from "../support/models.ts"

type Nested = number | Nested[]
const flat = (value: Nested): number[] => (Array.isArray(value) ? value.flatMap(flat) : [value])
const shapeOf = (value: Nested): number[] => (Array.isArray(value) ? [value.length, ...shapeOf(value[0] as Nested)] : [])
interface Tensor {
  data: Float32Array
  shape: number[]
}
const tensor = (value: Nested): Tensor => ({ data: Float32Array.from(flat(value)), shape: shapeOf(value) })
/** Swaps the last two axes. */
const swap = ({ data, shape }: Tensor): Tensor => {
  const [rows, columns] = shape.slice(-2) as [number, number]
  const out = data.map((_, i) => {
    const [block, c, r] = [Math.floor(i / (rows * columns)), Math.floor(i / rows) % columns, i % rows]
    return data[block * rows * columns + r * columns + c] as number
  })
  return { data: out, shape: [...shape.slice(0, -2), columns, rows] }
}

interface Sizes {
  batch: number
  length: number
  channels: number
  state: number
  groups: number
}
type Arrays = Record<"u" | "delta" | "A" | "B" | "C" | "D" | "z" | "deltaBias" | "initialState", Float32Array>

function makeCase({ batch, length, channels, state, groups }: Sizes, seed: number): Arrays {
  let x = seed
  const fill = (count: number, low: number, high: number): Float32Array =>
    Float32Array.from({ length: count }, () => {
      x = (Math.imul(x, 1664525) + 1013904223) >>> 0
      return low + ((high - low) * x) / 2 ** 32
    })
  const steps = batch * length * channels
  const shared = batch * length * groups * state
  return {
    u: fill(steps, -1, 1),
    delta: fill(steps, -4, 1),
    A: fill(channels * state, -8, -0.5),
    B: fill(shared, -1, 1),
    C: fill(shared, -1, 1),
    D: fill(channels, -1, 1),
    z: fill(steps, -2, 2),
    deltaBias: fill(channels, -2, 0.5),
    initialState: fill(batch * channels * state, -1, 1),
  }
}

/** The definition, in f64, time before channels. */
function reference(
  { batch, length, channels, state, groups }: Sizes,
  a: Partial<Arrays> & Pick<Arrays, "u" | "delta" | "A" | "B" | "C">,
  softplus: boolean,
) {
  const out = new Float64Array(batch * length * channels)
  const h = Float64Array.from(a.initialState ?? new Float64Array(batch * channels * state))
  const at = (array: Float32Array | undefined, i: number, otherwise: number): number => array?.[i] ?? otherwise
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < length; t++) {
      for (let d = 0; d < channels; d++) {
        const i = (b * length + t) * channels + d
        const s = at(a.delta, i, 0) + at(a.deltaBias, d, 0)
        const delta = softplus && s <= 20 ? Math.log1p(Math.exp(s)) : s
        const g = Math.floor(d / (channels / groups))
        let y = at(a.D, d, 0) * at(a.u, i, 0)
        for (let n = 0; n < state; n++) {
          const j = (b * channels + d) * state + n
          const k = ((b * length + t) * groups + g) * state + n
          h[j] = Math.exp(delta * at(a.A, d * state + n, 0)) * (h[j] as number) + delta * at(a.B, k, 0) * at(a.u, i, 0)
          y += at(a.C, k, 0) * (h[j] as number)
        }
        const z = a.z?.[i]
        out[i] = z === undefined ? y : (y * z) / (1 + Math.exp(-z))
      }
    }
  }
  return { out, h }
}

describe("the golden case", () => {
  const s6 = golden<Record<"s6", Record<string, Record<string, Nested>>>>("s6.json").s6
  const input = (name: string): Tensor => tensor(s6.inputs?.[name] as Nested)
  const [u, delta, A, B, C] = [input("u"), input("delta"), input("A"), input("B"), input("C")]
  const [D, z, bias, h0] = [input("D"), input("z"), input("bias"), input("h0")]

  test.each(["bdl", "bld"] as const)("in layout %s", async (layout) => {
    const turn = layout === "bdl" ? (x: Tensor) => x : swap
    const all = { layout, u: turn(u), delta: turn(delta), A, B: turn(B), C: turn(C), D, z: turn(z), deltaBias: bias, deltaSoftplus: true }
    const one = await selectiveScan({ ...all, initialState: h0 })
    expect(relativeError(flat(s6.case1?.out as Nested), turn(one.out).data)).toBeLessThanOrEqual(1e-5)
    expect(relativeError(flat(s6.case1?.hL as Nested), one.lastState.data)).toBeLessThanOrEqual(1e-5)
    expect(one.out.shape).toEqual(turn(u).shape)
    expect(one.lastState.shape).toEqual(h0.shape)
    const two = await selectiveScan(all)
    expect(relativeError(flat(s6.case2_h0zero_dhLzero?.out as Nested), turn(two.out).data)).toBeLessThanOrEqual(1e-5)
    expect(relativeError(flat(s6.case2_h0zero_dhLzero?.hL as Nested), two.lastState.data)).toBeLessThanOrEqual(1e-5)
  })
})

describe("against the definition in f64", () => {
  const cases: [Sizes, boolean, (keyof Arrays)[]][] = [
    [{ batch: 1, length: 1, channels: 1, state: 1, groups: 1 }, true, []],
    [{ batch: 1, length: 37, channels: 33, state: 16, groups: 1 }, true, []],
    [{ batch: 2, length: 19, channels: 40, state: 8, groups: 1 }, false, ["z", "D"]],
    [{ batch: 3, length: 5, channels: 24, state: 3, groups: 2 }, true, ["deltaBias"]],
    [{ batch: 1, length: 11, channels: 12, state: 64, groups: 4 }, true, ["initialState"]],
    [{ batch: 1, length: 700, channels: 17, state: 5, groups: 1 }, true, ["z"]],
    [{ batch: 2, length: 64, channels: 256, state: 16, groups: 1 }, true, ["D", "deltaBias", "initialState", "z"]],
  ]
  test.each(cases)("%o softplus %s without %o", async (sizes, deltaSoftplus, without) => {
    const { batch, length, channels, state, groups } = sizes
    const arrays = makeCase(sizes, length + channels)
    if (!deltaSoftplus) arrays.delta = arrays.delta.map((x) => Math.abs(x) / 10)
    if (!deltaSoftplus) arrays.deltaBias = arrays.deltaBias.map(Math.abs)
    const given = Object.fromEntries(
      Object.entries(arrays).filter(([name]) => !without.includes(name as keyof Arrays)),
    ) as unknown as Arrays
    const { out, h } = reference(sizes, given, deltaSoftplus)

    const bare = await selectiveScan({ layout: "bld", shape: [batch, length, channels], deltaSoftplus, ...given })
    expect(relativeError(out, bare.out.data)).toBeLessThanOrEqual(1e-5)
    expect(relativeError(h, bare.lastState.data)).toBeLessThanOrEqual(1e-5)

    // The other layout computes the same numbers.
    const turned = (data: Float32Array | undefined, columns: number): Float32Array | undefined =>
      data && swap({ data, shape: [batch, length, columns] }).data
    const other = await selectiveScan({
      ...given,
      layout: "bdl",
      shape: [batch, channels, length],
      deltaSoftplus,
      u: turned(given.u, channels) as Float32Array,
      delta: turned(given.delta, channels) as Float32Array,
      z: turned(given.z, channels),
      B: turned(given.B, groups * state) as Float32Array,
      C: turned(given.C, groups * state) as Float32Array,
    })
    expect(swap({ data: other.out.data, shape: [batch, channels, length] }).data).toEqual(bare.out.data)
    expect(other.lastState).toEqual(bare.lastState)

    if (batch === 1) {
      const single = await selectiveScan({ layout: "bld", shape: [length, channels], deltaSoftplus, ...given })
      expect(single.out).toEqual({ data: bare.out.data, shape: [length, channels] })
      expect(single.lastState).toEqual({ data: bare.lastState.data, shape: [channels, state] })
    }
  })

  test("bf16 arrays are their f32 values", async () => {
    const sizes = { batch: 1, length: 21, channels: 10, state: 4, groups: 1 }
    const { u, delta, A, B, C } = makeCase(sizes, 4)
    const narrow = (data: Float32Array): Uint16Array => Uint16Array.from(new Uint32Array(data.slice().buffer), (bits) => bits >>> 16)
    const wide = (data: Uint16Array): Float32Array => new Float32Array(Uint32Array.from(data, (bits) => bits << 16).buffer)
    const halves = { u: narrow(u), delta: narrow(delta), B: narrow(B), C: narrow(C) }
    const shared = { layout: "bld" as const, shape: [21, 10], A, deltaSoftplus: true }
    const expected = await selectiveScan({ ...shared, u: wide(halves.u), delta: wide(halves.delta), B: wide(halves.B), C: wide(halves.C) })
    expect(await selectiveScan({ ...shared, ...halves })).toEqual(expected)
  })

  test.each(["f32", "bf16"] as const)("layouts and types cost no bit: a bare scan node on %s numbers in its own layout", async (type) => {
    const [b, l, e, n, groups] = [2, 21, 10, 4, 2]
    const bits = (data: Float32Array): Uint32Array => new Uint32Array(data.slice().buffer)
    const narrow = (data: Float32Array): Uint16Array => Uint16Array.from(bits(data), (x) => x >>> 16)
    const wide = (data: Uint16Array): Float32Array => new Float32Array(Uint32Array.from(data, (x) => x << 16).buffer)
    const arrays = Object.entries(makeCase({ batch: b, length: l, channels: e, state: n, groups }, 4))
    const given = Object.fromEntries(arrays.map(([name, x]) => [name, type === "bf16" ? narrow(x) : x])) as unknown as Arrays
    const f32 = Object.fromEntries(arrays.map(([name, x]) => [name, type === "bf16" ? wide(narrow(x)) : x])) as unknown as Arrays

    const graph = new Graph()
    const input = (name: string, ...shape: number[]) => graph.input(name, "f32", shape)
    const [u, dt, z] = [input("u", b, l, e), input("delta", b, l, e), input("z", b, l, e)]
    const [A, B, C] = [input("A", n, e), input("B", b, l, groups * n), input("C", b, l, groups * n)]
    const [D, dtBias, state] = [input("D", e), input("deltaBias", e), graph.stateBuffer("h", "f32", [b, n, e])]
    graph.output("y", scan(u, dt, { A, B, C, D, z, dtBias, state, groups, softplus: true }))
    const engine = await (await openBackend()).open({ threads: 1 })
    const program = await engine.load(JSON.stringify(lower(graph, "bare")), null)
    const memory = await engine.state(program)
    for (const [name, x] of Object.entries({ ...f32, A: swap({ data: f32.A, shape: [e, n] }).data })) {
      const h = name === "initialState" && swap({ data: x, shape: [b, e, n] }).data
      await engine.write(h ? memory : program, h ? "h" : name, asBytes(h || x))
    }
    await engine.run(program, memory)
    const y = asFloats(await engine.read(program, "y"))
    const h = swap({ data: asFloats(await engine.read(memory, "h")), shape: [b, n, e] }).data
    await engine.dispose()

    const turned = (data: Float32Array, rows: number): Float32Array => swap({ data, shape: [b, l, rows] }).data
    const shared = { deltaSoftplus: true, ...given }
    const bld = await selectiveScan({ ...shared, layout: "bld", shape: [b, l, e] })
    expect(bits(bld.out.data)).toEqual(bits(y))
    expect(bits(bld.lastState.data)).toEqual(bits(h))
    const [tu, td, tz] = [turned(given.u, e), turned(given.delta, e), turned(given.z, e)]
    const [tB, tC] = [turned(given.B, groups * n), turned(given.C, groups * n)]
    const bdl = await selectiveScan({ ...shared, layout: "bdl", shape: [b, e, l], u: tu, delta: td, z: tz, B: tB, C: tC })
    expect(bits(bdl.out.data)).toEqual(bits(turned(y, e)))
    expect(bits(bdl.lastState.data)).toEqual(bits(h))
  })

  test("in two halves with the state handed on", async () => {
    const sizes = { batch: 1, length: 40, channels: 6, state: 3, groups: 1 }
    const { u, delta, A, B, C } = makeCase(sizes, 9)
    const part = (from: number, to: number, initialState?: Float32Array) =>
      selectiveScan({
        layout: "bld",
        shape: [to - from, 6],
        ...{
          u: u.slice(from * 6, to * 6),
          delta: delta.slice(from * 6, to * 6),
          A,
          B: B.slice(from * 3, to * 3),
          C: C.slice(from * 3, to * 3),
        },
        ...{ deltaSoftplus: true, initialState },
      })
    const [whole, first] = [await part(0, 40), await part(0, 17)]
    const second = await part(17, 40, first.lastState.data)
    expect(relativeError(whole.lastState.data, second.lastState.data)).toBeLessThanOrEqual(1e-6)
    expect(relativeError(whole.out.data.slice(17 * 6), second.out.data)).toBeLessThanOrEqual(1e-6)
  })

  test("many shapes at once, and threads, change nothing", async () => {
    const one = async (i: number, threads?: number) => {
      const sizes = { batch: 1, length: 1 + (i % 13), channels: 4, state: 2, groups: 1 }
      const { u, delta, A, B, C } = makeCase(sizes, i)
      const { out } = await selectiveScan({ layout: "bld", shape: [sizes.length, 4], u, delta, A, B, C, deltaSoftplus: true }, { threads })
      return relativeError(reference(sizes, { u, delta, A, B, C }, true).out, out.data)
    }
    const errors = await Promise.all(Array.from({ length: 60 }, (_, i) => one(i, 1 + (i % 2))))
    expect(Math.max(...errors)).toBeLessThanOrEqual(1e-5)
  })
})

describe("length 0", () => {
  const empty = {
    u: new Float32Array(),
    delta: new Float32Array(),
    A: new Float32Array(6).fill(-1),
    B: new Float32Array(),
    C: new Float32Array(),
  }
  test("gives no output and the initial state", async () => {
    const initialState = Float32Array.of(1, 2, 3, 4, 5, 6)
    expect(await selectiveScan({ layout: "bld", shape: [0, 2], ...empty, initialState })).toEqual({
      out: { data: new Float32Array(), shape: [0, 2] },
      lastState: { data: initialState, shape: [2, 3] },
    })
    expect((await selectiveScan({ layout: "bdl", shape: [1, 2, 0], ...empty })).lastState).toEqual({
      data: new Float32Array(6),
      shape: [1, 2, 3],
    })
  })
})

describe("refusals", () => {
  const good: SelectiveScanInput = {
    layout: "bld",
    shape: [5, 4],
    u: new Float32Array(20),
    delta: new Float32Array(20),
    A: new Float32Array(8),
    B: new Float32Array(10),
    C: new Float32Array(10),
  }
  test.each<[string, object, RegExp]>([
    ["no layout", { layout: undefined }, /layout/],
    ["an unknown layout", { layout: "ldb" }, /ldb/],
    ["no shape", { shape: undefined }, /shape of u/],
    ["a shape of rank 1", { shape: [20] }, /\[20\]/],
    ["u that does not fill its shape", { u: new Float32Array(19) }, /u holds 19.*20/],
    ["delta of another size", { delta: new Float32Array(21) }, /delta holds 21.*20/],
    ["delta of another shape", { delta: { data: new Float32Array(20), shape: [4, 5] } }, /delta has shape \[4, 5\].*\[5, 4\]/],
    ["A that channels do not divide", { A: new Float32Array(9) }, /A holds 9.*4 channels/],
    ["B of no whole group", { B: new Float32Array(11) }, /B holds 11/],
    ["groups that do not divide the channels", { B: new Float32Array(30), C: new Float32Array(30) }, /3 groups of 4/],
    ["C unlike B", { C: new Float32Array(20) }, /C holds 20.*10/],
    ["D of another size", { D: new Float32Array(5) }, /D holds 5.*4/],
    ["z of another size", { z: new Float32Array(5) }, /z holds 5.*20/],
    ["an initial state of another size", { initialState: new Float32Array(4) }, /initialState holds 4.*8/],
    ["plain arrays", { u: new Array(20).fill(0) }, /u is an array/],
    ["f64", { B: new Float64Array(10) }, /B is/],
    ["no C", { C: undefined }, /C is/],
    ["an unknown input", { dt: new Float32Array(1) }, /dt/],
  ])("%s", async (_name, change, message) => {
    const error = await selectiveScan({ ...good, ...change } as SelectiveScanInput).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(OptionError)
    expect((error as Error).message).toMatch(message)
  })
  test("an unknown option, and an aborted signal", async () => {
    await expect(selectiveScan(good, { thread: 1 } as object)).rejects.toThrow(/threads/)
    await expect(selectiveScan(good, { signal: AbortSignal.abort(new Error("early")) })).rejects.toThrow("early")
  })
})
