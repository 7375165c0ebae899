/** What a plan moves and computes, from the table's expressions, and how long a machine would take at best. */
import type { OpName } from "../ops/ops.gen.ts"
import { bindDims, rows } from "../ops/typing.ts"
import { aligned, placeTemp } from "./memory.ts"
import { dtypeSize, type Plan, type PlanBuffer, type PlanNode } from "./types.ts"

export interface Cost {
  /** Read and written. */
  bytes: number
  flops: number
}

/** Of one node, with every row valid. */
export function nodeCost({ buffers }: Pick<Plan, "buffers">, node: PlanNode): Cost {
  const row = rows[node.op as OpName]
  const inputs = node.in.map((id) => (id === null ? undefined : (buffers[id] as PlanBuffer)))
  const dims = bindDims(
    row,
    inputs.map((buffer) => buffer?.shape ?? null),
    node.attrs,
  )
  // `bytes` names tensors for the size of their elements.
  row.inputs.forEach(({ name }, i) => {
    dims[name] ??= dtypeSize[inputs[i]?.dtype ?? "f32"]
  })
  row.outputs.forEach(({ name }, i) => {
    dims[name] ??= dtypeSize[(buffers[node.out[i] as number] as PlanBuffer).dtype]
  })
  return { bytes: row.bytes(dims), flops: row.flops(dims) }
}

/** A machine's own limits, as measured. */
export interface Machine {
  gigabytesPerSecond: number
  gigaflopsPerSecond: number
}

export interface Forecast {
  nodes: Cost[]
  total: Cost
  /** Bytes of `temp`, and the least that these lifetimes allow. */
  peak: number
  bound: number
  /** Bytes of temp, state, io and the weights that the program names. */
  memory: number
  /** At the given limits, each node bound by the one that it meets first. Absent without a machine. */
  seconds?: number
}

/** The report that needs no device: sizes are exact, times a lower limit. */
export function forecast(plan: Plan, machine?: Machine): Forecast {
  const nodes = plan.nodes.map((node) => nodeCost(plan, node))
  const sum = (of: (cost: Cost) => number): number => nodes.reduce((total, cost) => total + of(cost), 0)
  const { temp, state, io } = plan.spaces
  const weights = plan.weights.reduce((total, { dtype, shape }) => total + aligned(shape.reduce((a, b) => a * b, dtypeSize[dtype])), 0)
  const time = ({ gigabytesPerSecond, gigaflopsPerSecond }: Machine): number =>
    sum(({ bytes, flops }) => Math.max(bytes / gigabytesPerSecond, flops / gigaflopsPerSecond)) / 1e9
  return {
    nodes,
    total: { bytes: sum(({ bytes }) => bytes), flops: sum(({ flops }) => flops) },
    peak: temp,
    bound: placeTemp(plan).bound,
    memory: temp + state + io + weights,
    ...(machine !== undefined && { seconds: time(machine) }),
  }
}
