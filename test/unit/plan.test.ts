/**
 * From traces to plans. The plans in `test/golden/plans` are also what the Rust validator is tested on; after a wanted change:
 * `npx vitest run test/unit/plan.test.ts -u`.
 */
import { describe, expect, test } from "vitest"
import { PlanError } from "../../ts/errors.ts"
import { Graph } from "../../ts/graph/graph.ts"
import { split, type Tensor } from "../../ts/graph/tensor.ts"
import { mamba } from "../../ts/models/mamba.ts"
import { add, cast, conv1dSilu, rmsnorm, softplus, sumRows } from "../../ts/ops/index.ts"
import { rows } from "../../ts/ops/typing.ts"
import { lower } from "../../ts/plan/lower.ts"
import type { Plan, PlanBuffer, PlanNode } from "../../ts/plan/types.ts"
import { buildProgram, type ProgramSpec } from "../../ts/run/programs.ts"
import { buildScanPlans } from "../../ts/run/scan-programs.ts"
import { configs, planOf, planText, specs, tableOf } from "../support/plans.ts"

const golden = (name: string): string => `../golden/plans/${name}.json`
const ops = (plan: Plan): string[] => plan.nodes.map(({ op }) => op)
const at = (plan: Plan, op: string): PlanNode => plan.nodes.find((node) => node.op === op) as PlanNode
const buffer = (plan: Plan, id: number | null | undefined): PlanBuffer => plan.buffers[id as number] as PlanBuffer

describe("recorded plans", () => {
  test.each(Object.keys(specs))("%s", async (kind) => {
    await expect(planText(planOf("tiny", specs[kind] as ProgramSpec))).toMatchFileSnapshot(golden(kind))
  })
  test("step of a model with biases, an own head and no convolution memory", async () => {
    await expect(planText(planOf("odd", { kind: "step", b: 1 }))).toMatchFileSnapshot(golden("step-odd"))
  })
  test("selectiveScan", async () => {
    const names = ["u", "delta", "A", "B", "C", "D", "z", "deltaBias", "initialState"] as const
    const dtypes = (...all: (typeof names)[number][]) => Object.fromEntries(all.map((name) => [name, "f32"]))
    const sizes = { l: 5, e: 6, n: 4 }
    const all = buildScanPlans({ ...sizes, b: 2, groups: 2, softplus: true, layout: "bld", dtypes: dtypes(...names) })
    await expect(planText(all.scan)).toMatchFileSnapshot(golden("scan"))
    expect(ops(all.scan)).toEqual(["transpose", "scan"])
    expect([all.enter, all.leave].map((plan) => ops(plan as Plan))).toEqual([["transpose"], ["transpose"]])
    const least = buildScanPlans({ ...sizes, b: 1, groups: 1, softplus: false, layout: "bld", dtypes: dtypes("u", "delta", "A", "B", "C") })
    await expect(planText(least.scan)).toMatchFileSnapshot(golden("scan-least"))
    expect(least.enter).toBeUndefined()
  })
  test("selectiveScan of bf16 arrays with channels first", async () => {
    const dtypes = { u: "bf16", delta: "f32", A: "bf16", B: "bf16", C: "f32", D: "bf16" } as const
    const { scan } = buildScanPlans({ b: 1, l: 5, e: 6, n: 4, groups: 1, softplus: true, layout: "bdl", dtypes })
    await expect(planText(scan)).toMatchFileSnapshot(golden("scan-turned"))
    expect(ops(scan).sort()).toEqual([...Array(4).fill("cast"), "scan", ...Array(6).fill("transpose")])
  })
})

describe("programs of a model", () => {
  const kinds = Object.entries(specs).map(([kind, spec]) => [kind, { ...spec, b: 3 }] as const)

  test("agree on the state, to the byte", () => {
    for (const name of Object.keys(configs)) {
      const layouts = kinds.map(([, spec]) => {
        const { buffers, state, spaces } = planOf(name, spec)
        return { state, bytes: spaces.state, buffers: Object.values(state).map((id) => buffers[id]) }
      })
      for (const layout of layouts) expect(layout).toEqual(layouts[0])
    }
  })

  test("declare the state that the format lists", () => {
    const { state, buffers } = planOf("tiny", { kind: "step", b: 3 })
    const shapes = Object.fromEntries(Object.entries(state).map(([name, id]) => [name, [buffers[id]?.dtype, buffers[id]?.shape]]))
    expect(Object.keys(shapes).slice(0, 9)).toEqual("tokens lens rng sampler eos seen pool layers.0.conv layers.0.ssm".split(" "))
    expect(shapes).toMatchObject({
      tokens: ["i32", [3, 1]],
      lens: ["i32", [3]],
      rng: ["u32", [3, 4]],
      sampler: ["f32", [3, 8]],
      eos: ["i32", [16]],
      seen: ["u8", [3, 3]],
      pool: ["f32", [3, 8]],
      "layers.1.conv": ["f32", [3, 3, 16]],
      "layers.1.ssm": ["f32", [3, 4, 16]],
    })
  })

  test.each(kinds)("%s: ids are dense, names unique, attributes complete, the same in every run", (_kind, spec) => {
    const plan = planOf("odd", spec)
    expect(JSON.stringify(planOf("odd", spec))).toBe(JSON.stringify(plan))
    expect(plan.buffers.map(({ id }) => id)).toEqual([...plan.buffers.keys()])
    expect(plan.nodes.map(({ id }) => id)).toEqual([...plan.nodes.keys()])
    expect(new Set(plan.buffers.map(({ name }) => name)).size).toBe(plan.buffers.length)
    for (const node of plan.nodes) {
      const row = rows[node.op as keyof typeof rows]
      expect([node.in.length, node.out.length]).toEqual([row.inputs.length, row.outputs.length])
      expect(Object.keys(node.attrs)).toEqual(row.attrs.map(({ name }) => name))
      expect(node.at).not.toBe("")
    }
  })

  test("a block is seven nodes; a chunk that shows nothing ends with the last change of state", () => {
    const block = ["rmsnorm", "linear", "conv1d_silu", "linear", "linear", "scan"]
    expect(ops(planOf("tiny", { kind: "chunk", b: 1, l: 4 }))).toEqual(["embed", ...block, "linear", ...block])
    const logits = ["embed", ...block, "linear", ...block, "linear", "rmsnorm", "linear"]
    expect(ops(planOf("tiny", { kind: "logits", b: 1 }))).toEqual(logits)
    expect(ops(planOf("tiny", { kind: "step", b: 1 }))).toEqual([...logits, "sample"])
    expect(ops(planOf("tiny", { kind: "sample", b: 1 }))).toEqual(["sample"])
  })

  test("chunk options show what they say, with the widths that they have", () => {
    const { outputs, buffers, inputs } = planOf("tiny", specs["chunk-look"] as ProgramSpec)
    const shapes = Object.fromEntries(Object.entries(outputs).map(([name, id]) => [name, buffers[id]?.shape]))
    const captured = (layer: number): object => ({
      [`capture.${layer}.dt`]: [1, 5, 16],
      [`capture.${layer}.B`]: [1, 5, 4],
      [`capture.${layer}.C`]: [1, 5, 4],
    })
    const hidden = Object.fromEntries([0, 1, 2].map((i) => [`hidden.${i}`, [1, 5, 8]]))
    expect(shapes).toEqual({ ...hidden, ...captured(0), ...captured(1), logits: [1, 5, 21] })
    expect(Object.keys(inputs)).toEqual(["tokens"])
    const score = planOf("tiny", specs["chunk-score"] as ProgramSpec)
    expect([Object.keys(score.inputs), Object.keys(score.outputs)]).toEqual([["tokens", "targets"], ["nll"]])
  })

  test("dt is captured after softplus, hidden states in order, the last after the final norm", () => {
    const plan = planOf("tiny", specs["chunk-look"] as ProgramSpec)
    const writer = (name: string): string => plan.nodes.find(({ out }) => out.includes(plan.outputs[name] as number))?.op as string
    expect(["capture.0.dt", "capture.0.B", "hidden.0", "hidden.1", "hidden.2"].map(writer)).toEqual(
      "softplus cast embed linear rmsnorm".split(" "),
    )
  })

  test("a padded vocabulary: logits have all rows, sampling and loss only the first", () => {
    const model = mamba.parse({ d_model: 8, n_layer: 1, vocab_size: 13, ssm_cfg: { d_state: 4 } })
    const step = buildProgram(model, tableOf(model), { kind: "step", b: 1 })
    expect(buffer(step, at(step, "sample").in[0]).shape).toEqual([1, 1, 16])
    expect(at(step, "sample").attrs).toEqual({ vocab: 13, steps: 8 })
    const score = buildProgram(model, tableOf(model), { kind: "chunk", b: 1, l: 3, targets: true })
    expect(at(score, "linear_cross_entropy").attrs).toEqual({ vocab: 13, compute: "f32" })
  })

  test("compute reaches every matrix product, and the weights keep their width", () => {
    const plan = planOf("tiny", { kind: "step", b: 1, compute: "bf16" })
    const products = plan.nodes.filter(({ op }) => op === "linear")
    expect(products).toHaveLength(9)
    for (const { attrs, in: inputs } of products) {
      expect(attrs.compute).toBe("bf16")
      expect(buffer(plan, inputs[1]).dtype).toBe("bf16")
    }
  })

  test("a tied embedding is one weight, and the small tensors are widened or turned", () => {
    const plan = planOf("tiny", { kind: "step", b: 1 })
    const row = (key: string): unknown => plan.weights.filter((weight) => weight.key === key)
    expect(row("backbone.embeddings.weight")).toMatchObject([{ as: "stored", dtype: "bf16", shape: [21, 8] }])
    expect(row("backbone.layers.0.mixer.A_log")).toMatchObject([{ as: "negexp", transpose: true, dtype: "f32", shape: [4, 16] }])
    expect(row("backbone.layers.0.mixer.conv1d.weight")).toMatchObject([{ as: "f32", transpose: true, dtype: "f32", shape: [4, 16] }])
    expect(row("backbone.layers.0.norm.weight")).toMatchObject([{ as: "f32", dtype: "f32", shape: [8] }])
    const own = planOf("odd", { kind: "step", b: 1 })
    expect(own.weights.map(({ key }) => key)).toContain("lm_head.weight")
    const conv = own.weights.find(({ key }) => key.endsWith("0.mixer.conv1d.weight"))
    expect(conv?.shape).toEqual([1, 60])
  })

  test("a tensor or state that the checkpoint or the model does not have is refused", () => {
    const model = mamba.parse(configs.tiny as Record<string, unknown>)
    expect(() => buildProgram(model, new Map(), { kind: "step", b: 1 })).toThrow(PlanError)
    expect(() => buildProgram({ ...model, state: [] }, tableOf(model), { kind: "step", b: 1 })).toThrow(/declares no state layers\.0\.conv/)
  })
})

describe("lowering", () => {
  const chain = (): { graph: Graph; x: Tensor } => {
    const graph = new Graph()
    return { graph, x: graph.input("x", "f32", [1, 3, 4]) }
  }

  test("leaves out what no output and no state needs", () => {
    const { graph, x } = chain()
    const acc = graph.stateBuffer("acc", "f32", [1, 4])
    const y = rmsnorm(x)
    rmsnorm(softplus(y))
    sumRows(softplus(x), acc)
    graph.output("y", y)
    expect(ops(lower(graph, "p"))).toEqual(["rmsnorm", "softplus", "sum_rows"])
  })

  test("views are buffers without bytes of their own; only rows that are apart carry ld", () => {
    const { graph } = chain()
    const wide = cast(graph.input("wide", "f32", [1, 3, 10]), "f32")
    const [a, b] = split(wide, [4, 6]) as [Tensor, Tensor]
    const [whole] = split(wide, [10]) as [Tensor]
    const [, inner] = split(b, [2, 4]) as [Tensor, Tensor]
    graph.output("a", softplus(a))
    graph.output("inner", softplus(inner))
    graph.output("whole", rmsnorm(whole))
    const { buffers } = lower(graph, "p")
    const views = buffers.filter((each) => "view" in each)
    const of = buffers.find(({ name }) => name === "y")?.id
    expect(views).toMatchObject([
      { name: "y[0:4]", view: { of, byte: 0, ld: 10 } },
      { name: "y[6:10]", view: { of, byte: 24, ld: 10 } },
      { name: "y[0:10]", view: { of, byte: 0 } },
    ])
    expect(views[2]).not.toHaveProperty("view.ld")
  })

  test("inputs and outputs lie in io, apart; state of zero bytes has a place", () => {
    const { graph, x } = chain()
    const state = graph.stateBuffer("conv", "f32", [1, 0, 4])
    const weight = graph.weight("w", { as: "f32", transpose: true }, "f32", [1, 4])
    const y = conv1dSilu(x, weight, { state })
    graph.output("y", y)
    graph.output("z", add(x, y))
    const plan = lower(graph, "p")
    const places = plan.buffers.map((each) => ("offset" in each ? `${each.name} ${each.space}+${each.offset} ${each.bytes}` : each.name))
    expect(places).toEqual(["conv state+0 0", "io.x io+0 48", "w f32 transposed", "io.y io+256 48", "io.z io+512 48"])
    expect(plan.spaces).toEqual({ temp: 0, state: 0, io: 768 })
  })
})
