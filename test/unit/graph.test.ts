/** Tracing: what a program may be made of, and what is refused while it is traced. */
import { describe, expect, test } from "vitest"
import { PlanError } from "../../ts/errors.ts"
import { Graph } from "../../ts/graph/graph.ts"
import { isContiguous, pitch, reshape, rootOf, split, type Tensor } from "../../ts/graph/tensor.ts"
import * as op from "../../ts/ops/index.ts"
import { type OpName, ops } from "../../ts/ops/ops.gen.ts"
import type { DType } from "../../ts/plan/types.ts"

const graph = new Graph()
let count = 0
const input = (dtype: DType, ...shape: number[]): Tensor => graph.input(`x${count++}`, dtype, shape)
const f32 = (...shape: number[]): Tensor => input("f32", ...shape)
const state = (dtype: DType, ...shape: number[]): Tensor => graph.stateBuffer(`s${count++}`, dtype, shape)
const weight = (dtype: DType, ...shape: number[]): Tensor =>
  graph.weight(`w${count++}`, { as: dtype === "f32" ? "f32" : "stored", transpose: false }, dtype, shape)
const sampling = (logits: Tensor, b: number, v: number): Parameters<typeof op.sample>[0] => ({
  logits,
  tokens: state("i32", b, 1),
  lens: state("i32", b),
  rng: state("u32", b, 4),
  sampler: state("f32", b, 8),
  eos: state("i32", 16),
  seen: state("u8", b, Math.ceil(v / 8)),
})

function refused(body: () => unknown): PlanError {
  try {
    body()
  } catch (error) {
    expect(error).toBeInstanceOf(PlanError)
    return error as PlanError
  }
  throw new Error("nothing was refused")
}

describe("shapes and dtypes follow from the table", () => {
  const made: [name: OpName, output: Tensor | Tensor[], shape: number[] | number[][], dtype?: DType][] = [
    ["embed", op.embed(input("i32", 2, 3), weight("bf16", 9, 4), { lens: input("i32", 2) }), [2, 3, 4]],
    ["rmsnorm", op.rmsnorm(f32(2, 3, 4), { weight: weight("f32", 4) }), [2, 3, 4]],
    ["linear", op.linear(f32(2, 3, 4), weight("f16", 5, 4), { residual: f32(2, 3, 5) }), [2, 3, 5]],
    ["conv1d_silu", op.conv1dSilu(f32(2, 3, 4), weight("f32", 1, 4), { state: state("f32", 2, 0, 4) }), [2, 3, 4]],
    [
      "scan",
      op.scan(f32(2, 3, 6), f32(2, 3, 6), {
        ...{ A: weight("f32", 5, 6), B: f32(2, 3, 10), C: f32(2, 3, 10) },
        ...{ state: state("f32", 2, 5, 6), groups: 2 },
      }),
      [2, 3, 6],
    ],
    [
      "scan",
      op.scan(input("bf16", 2, 3, 6), input("bf16", 2, 3, 6), {
        ...{ A: weight("f32", 5, 6), B: input("bf16", 2, 3, 5), C: input("bf16", 2, 3, 5) },
        ...{ state: state("f32", 2, 5, 6) },
      }),
      [2, 3, 6],
      "bf16",
    ],
    ["add", op.add(f32(2, 3, 4), f32(2, 3, 4)), [2, 3, 4]],
    ["cast", op.cast(f32(2, 3, 4), "bf16"), [2, 3, 4], "bf16"],
    ["transpose", op.transpose(f32(2, 3, 4)), [2, 4, 3]],
    ["softplus", op.softplus(f32(2, 3, 4)), [2, 3, 4]],
    ["linear_cross_entropy", op.linearCrossEntropy(f32(2, 3, 4), weight("bf16", 9, 4), input("i32", 2, 3), { vocab: 8 }), [2, 3]],
  ]
  test.each(made)("%s", (name, output, shape, dtype = "f32") => {
    expect(output).toMatchObject({ shape, dtype, origin: { kind: "node", node: { op: name } } })
  })

  test("ops with several outputs or none", () => {
    const { token, logprob } = op.sample(sampling(f32(2, 1, 9), 2, 9), { vocab: 9, steps: 8 })
    expect([token.dtype, token.shape, logprob.dtype, logprob.shape]).toEqual(["i32", [2, 8], "f32", [2, 8]])
    op.sumRows(f32(2, 3, 4), state("f32", 2, 4))
    expect(graph.nodes.at(-1)).toMatchObject({ op: "sum_rows", out: [] })
  })

  test("each row of the table has its builder", () => {
    expect(Object.keys(op.builders)).toEqual(Object.keys(ops))
  })

  test("attributes that are left out have the table's default", () => {
    op.rmsnorm(f32(1, 1, 4), { eps: 1e-6 })
    op.linear(f32(1, 1, 4), weight("f32", 2, 4))
    expect(graph.nodes.slice(-2).map(({ attrs }) => attrs)).toEqual([{ eps: 1e-6 }, { compute: "f32" }])
  })
})

describe("a node that does not fit is refused", () => {
  const cases: [what: string, body: () => unknown, message: RegExp][] = [
    [
      "another inner size",
      () => op.linear(f32(1, 2, 4), weight("f32", 3, 5)),
      /linear: weight must be \[m = 3, k = 4\]; it is f32\[3, 5\]/,
    ],
    ["another rank", () => op.rmsnorm(f32(2, 4)), /rmsnorm: x must be \[b = 2, l = 4, d\]; it is f32\[2, 4\]/],
    ["a residual of another shape", () => op.linear(f32(1, 2, 4), weight("f32", 3, 4), { residual: f32(1, 2, 4) }), /residual must be/],
    ["lens of another batch", () => op.softplus(f32(2, 2, 4), { lens: input("i32", 3) }), /lens must be \[b = 2\]/],
    ["another dtype", () => op.embed(f32(2, 3), weight("bf16", 9, 4)), /embed: tokens must be i32; it is f32\[2, 3\]/],
    [
      "a dtype that is not the first input's",
      () =>
        op.scan(input("bf16", 1, 2, 4), f32(1, 2, 4), {
          ...{ A: weight("f32", 3, 4), B: input("bf16", 1, 2, 3), C: input("bf16", 1, 2, 3), state: state("f32", 1, 3, 4) },
        }),
      /scan: dt must be bf16; it is f32\[1, 2, 4\]/,
    ],
    ["a vector that was not widened", () => op.rmsnorm(f32(1, 1, 4), { weight: weight("bf16", 4) }), /weight must be f32; it is bf16\[4\]/],
    [
      "a state of another width",
      () => op.conv1dSilu(f32(1, 2, 4), weight("f32", 4, 4), { state: state("f32", 1, 4, 4) }),
      /state must be \[b = 1, w-1 = 3, e = 4\]/,
    ],
    ["an update of what is not state", () => op.sumRows(f32(1, 2, 4), f32(1, 4)), /sum_rows: acc is updated.*not of kind input/],
    [
      "a requirement that fails",
      () => op.linearCrossEntropy(f32(1, 2, 4), weight("f32", 9, 4), input("i32", 1, 2), { vocab: 10 }),
      /vocab <= m does not hold/,
    ],
    [
      "rows apart where they must be adjacent",
      () => op.add(split(f32(1, 2, 8))[0] as Tensor, f32(1, 2, 4)),
      /add: a must have adjacent rows/,
    ],
    ["an input that is left out", () => op.add(f32(1, 2, 4), undefined as never), /add lacks c/],
    ["nothing at all", () => op.transpose(undefined as never), /transpose has no inputs/],
    ["tensors of two programs", () => op.add(f32(1, 2, 4), new Graph().input("x", "f32", [1, 2, 4])), /two programs/],
  ]
  test.each(cases)("%s", (_what, body, message) => {
    const nodes = graph.nodes.length
    expect(refused(body)).toMatchObject({ code: "PLAN_TRACE", message: expect.stringMatching(message), issues: [{ code: "trace" }] })
    expect(graph.nodes).toHaveLength(nodes)
  })

  test("the message says where in the model it happened, and labels end with their body", () => {
    const error = refused(() => graph.at("model.ts layer 3", () => graph.at("norm", () => op.rmsnorm(f32(1)))))
    expect(error.message).toContain("(at model.ts layer 3 norm)")
    expect(error.issues[0]?.path).toBe("model.ts layer 3 norm")
    expect(graph.label).toBe("")
  })
})

describe("views", () => {
  const wide = f32(2, 3, 12)

  test("split makes windows on the last axis, also of a window, and no node", () => {
    const nodes = graph.nodes.length
    const [a, b, c] = split(wide, [2, 6, 4]) as [Tensor, Tensor, Tensor]
    const [, right] = split(b) as [Tensor, Tensor]
    const starts = [a, b, c, right].map(({ origin, shape }) => (origin.kind === "view" ? [origin.start, shape, origin.ld] : undefined))
    expect(starts).toEqual([
      [0, [2, 3, 2], 12],
      [2, [2, 3, 6], 12],
      [8, [2, 3, 4], 12],
      [5, [2, 3, 3], 12],
    ])
    expect([rootOf(right), pitch(right), isContiguous(right)]).toEqual([wide, 12, false])
    expect(graph.nodes).toHaveLength(nodes)
  })

  test("reshape keeps the elements", () => {
    const flat = reshape(wide, [6, 12])
    expect([flat.shape, rootOf(reshape(flat, [72])), isContiguous(flat)]).toEqual([[6, 12], wide, true])
  })

  const cases: [string, () => unknown, RegExp][] = [
    ["sizes that do not add up", () => split(wide, [5, 6]), /f32\[2, 3, 12\] does not split into 5 \+ 6/],
    ["halves of an odd axis", () => split(f32(1, 1, 3)), /does not split/],
    ["an empty part", () => split(wide, [0, 12]), /does not split/],
    ["another number of elements", () => reshape(wide, [71]), /does not reshape to \[71\]/],
    ["rows that are apart", () => reshape(split(wide)[0] as Tensor, [36]), /with rows 12 apart does not reshape/],
    ["a weight", () => split(weight("f32", 4, 8)), /weight w\d+ cannot be viewed/],
  ]
  test.each(cases)("%s are refused", (_what, body, message) => {
    expect(refused(body).message).toMatch(message)
  })
})

describe("names", () => {
  const cases: [string, (own: Graph) => unknown, RegExp][] = [
    ["a second input of one name", (own) => own.input("x", "f32", [1]), /input x is declared twice/],
    ["a second state of one name", (own) => own.stateBuffer("s", "f32", [1]), /state s is declared twice/],
    ["a size that is no number", (own) => own.input("y", "f32", [1.5]), /\[1.5\] is not a shape/],
    ["an output named as an input", (own) => own.output("x", op.softplus(own.inputs.get("x") as Tensor)), /another input or output/],
    ["an output that nothing computes", (own) => own.output("y", own.inputs.get("x") as Tensor), /output y is of kind input/],
    [
      "one value as two outputs",
      (own) => {
        const y = op.softplus(own.inputs.get("x") as Tensor)
        own.output("y", y)
        own.output("z", y)
      },
      /output z is another output already/,
    ],
  ]
  test.each(cases)("%s is refused", (_what, body, message) => {
    const own = new Graph()
    own.input("x", "f32", [1, 1, 4])
    own.stateBuffer("s", "f32", [1])
    expect(refused(() => body(own)).message).toMatch(message)
  })

  test("one weight in one form is one tensor", () => {
    const own = new Graph()
    const of = (as: "stored" | "f32", transpose: boolean): Tensor => own.weight("w", { as, transpose }, "f32", [2, 2])
    expect(of("stored", false)).toBe(of("stored", false))
    expect(new Set([of("stored", false), of("f32", false), of("f32", true)]).size).toBe(3)
  })
})
