/** The planner: whatever the graph, no value is overwritten while it is needed, and little is wasted. */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { Graph } from "../../ts/graph/graph.ts"
import { isContiguous, split, type Tensor } from "../../ts/graph/tensor.ts"
import { add, cast, conv1dSilu, linear, rmsnorm, scan, softplus } from "../../ts/ops/index.ts"
import { lower } from "../../ts/plan/lower.ts"
import { placeTemp } from "../../ts/plan/memory.ts"
import type { PlacedBuffer, Plan } from "../../ts/plan/types.ts"
import { checkMemory } from "../support/check-memory.ts"
import { configs, planOf, specs } from "../support/plans.ts"

/** A graph from a tape of numbers: each step picks an op, earlier values for it, and now and then makes an output. */
function randomPlan(tape: readonly number[], l: number): Plan {
  const graph = new Graph()
  let at = 0
  const pick = (n: number): number => (tape[at++ % tape.length] as number) % n
  const width = (x: Tensor): number => x.shape[2] as number
  const vector = (n: number): Tensor => graph.weight(`v${n}`, { as: "f32", transpose: false }, "f32", [n])
  const matrix = (m: number, k: number): Tensor => graph.weight(`m${m}x${k}`, { as: "stored", transpose: false }, "bf16", [m, k])
  const values: Tensor[] = [graph.input("x", "f32", [1, l, 24])]
  const any = (fits: (x: Tensor) => boolean = () => true): Tensor => {
    const fitting = values.filter(fits)
    return fitting[fitting.length - 1 - pick(Math.min(5, fitting.length))] as Tensor
  }
  const like = (x: Tensor): Tensor => any((y) => isContiguous(y) && width(y) === width(x))
  const step = (i: number): Tensor[] => {
    const x = any()
    switch (pick(8)) {
      case 0:
        return [rmsnorm(x, { weight: vector(width(x)) })]
      case 1:
        return [softplus(x)]
      case 2: {
        const a = any(isContiguous)
        return [add(a, like(a))]
      }
      case 3: {
        const y = any(isContiguous)
        return [linear(x, matrix(width(y), width(x)), { residual: y })]
      }
      case 4:
        return split(linear(x, matrix(40, width(x))), [8, 20, 12])
      case 5: {
        const state = graph.stateBuffer(`conv${i}`, "f32", [1, 2, width(x)])
        return [conv1dSilu(x, graph.weight(`c${width(x)}`, { as: "f32", transpose: true }, "f32", [3, width(x)]), { state })]
      }
      case 6: {
        const dt = any((y) => width(y) === width(x))
        const state = graph.stateBuffer(`ssm${i}`, "f32", [1, 8, width(x)])
        const A = graph.weight(`A${width(x)}`, { as: "negexp", transpose: true }, "f32", [8, width(x)])
        const [B, C] = split(linear(x, matrix(16, width(x)))) as [Tensor, Tensor]
        return [scan(x, dt, { A, B, C, z: any((y) => width(y) === width(x)), state })]
      }
      default:
        return [cast(x, "f32")]
    }
  }
  for (let i = 0; i < tape.length; i++) values.push(...graph.at(`step ${i}`, () => step(i)))
  for (const [i, value] of values.entries()) {
    if (i > 0 && (i === values.length - 1 || pick(6) === 0)) graph.output(`y${i}`, cast(value, "f32"))
  }
  return lower(graph, "random")
}

const graphs = fc.tuple(fc.array(fc.nat(1000), { minLength: 1, maxLength: 30 }), fc.integer({ min: 1, max: 70 }))

describe("random graphs", () => {
  test("no value is overwritten while it is needed, and the report is true", () => {
    fc.assert(
      fc.property(graphs, ([tape, l]) => {
        const plan = randomPlan(tape, l)
        const { problems, mostNeeded } = checkMemory(plan)
        expect(problems).toEqual([])
        const { peak, bound, ratio } = placeTemp(plan)
        expect([plan.spaces.temp, mostNeeded]).toEqual([peak, bound])
        expect(peak).toBeGreaterThanOrEqual(bound)
        expect(ratio).toBeCloseTo(bound === 0 ? 1 : peak / bound)
      }),
      { numRuns: 400 },
    )
  })

  test("in-place outputs are found: a chain of elementwise ops needs one buffer", () => {
    const graph = new Graph()
    let x = cast(graph.input("x", "f32", [1, 64, 4]), "f32")
    for (let i = 0; i < 5; i++) x = softplus(rmsnorm(x))
    graph.output("y", cast(x, "f32"))
    expect(lower(graph, "chain").spaces.temp).toBe(1024)
  })

  test("an input that is needed later, named twice or only part of a buffer is not taken over", () => {
    const graph = new Graph()
    const x = cast(graph.input("x", "f32", [1, 64, 4]), "f32")
    const later = rmsnorm(x)
    const twice = add(later, later)
    const [part] = split(twice) as [Tensor, Tensor]
    graph.output("y", linear(softplus(part), graph.weight("w", { as: "stored", transpose: false }, "f32", [4, 2]), { residual: x }))
    const plan = lower(graph, "not in place")
    expect(checkMemory(plan).problems).toEqual([])
    expect(plan.spaces.temp).toBe(3 * 1024)
  })

  test("the checker sees a moved buffer", () => {
    const plan = planOf("tiny", specs.chunk as never)
    const temp = plan.buffers.filter((buffer): buffer is PlacedBuffer => "space" in buffer && buffer.space === "temp")
    const caught = temp.filter((buffer) => {
      const { offset } = buffer
      const moved = [...new Set(temp.map((other) => other.offset))].filter((other) => other !== offset)
      const seen = moved.some((other) => {
        buffer.offset = other
        return checkMemory(plan).problems.length > 0
      })
      buffer.offset = offset
      return seen
    })
    expect(caught).toHaveLength(temp.length)
  })
})

describe.each(Object.keys(configs))("programs of %s", (name) => {
  test.each(Object.keys(specs))("%s: sound, and at most a tenth above what is needed", (kind) => {
    const plan = planOf(name, specs[kind] as never)
    const { problems, mostNeeded } = checkMemory(plan)
    expect(problems).toEqual([])
    expect(plan.spaces.temp).toBeLessThanOrEqual(1.1 * mostNeeded)
  })

  test("long chunks too", () => {
    for (const [b, l] of [
      [1, 512],
      [4, 128],
      [64, 32],
      [3, 33],
    ] as const) {
      const plan = planOf(name, { kind: "chunk", b, l })
      const { bound, ratio } = placeTemp(plan)
      expect(bound).toBeGreaterThan(0)
      expect(ratio).toBeLessThanOrEqual(1.1)
    }
  })
})
