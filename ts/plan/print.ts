/** A plan as a table for people: plain text, without color. */
import { show } from "../graph/tensor.ts"
import { forecast } from "./cost.ts"
import { lives } from "./lives.ts"
import { aligned } from "./memory.ts"
import type { Plan, PlanBuffer, PlanNode } from "./types.ts"

const units = ["", "k", "M", "G", "T"]

/** Three digits and a decimal unit. */
export function short(value: number): string {
  let scaled = value
  let unit = 0
  while (scaled >= 999.5 && unit < units.length - 1) {
    scaled /= 1000
    unit++
  }
  return `${unit === 0 || scaled >= 99.95 ? Math.round(scaled) : scaled.toFixed(1)}${units[unit]}`
}

/** A place that two rows can be compared by: the space and the offset, or the parent of a view. */
function place(buffer: PlanBuffer, buffers: readonly PlanBuffer[]): string {
  if ("view" in buffer) return `${place(buffers[buffer.view.of] as PlanBuffer, buffers)}+${buffer.view.byte}`
  return buffer.space === "weights" ? "weights" : `${buffer.space}+${(buffer as { offset: number }).offset}`
}

/** Bytes of `temp` that are live at each node. */
function liveBytes(plan: Plan): number[] {
  const live = plan.nodes.map(() => 0)
  // Buffers that share bytes in place are live together at one node only, where they count once.
  const ends = new Map<string, number>()
  lives(plan).forEach((life, id) => {
    const buffer = plan.buffers[id] as PlanBuffer
    if (life === undefined || !("space" in buffer) || buffer.space !== "temp") return
    const key = `${buffer.offset} ${buffer.bytes}`
    const first = ends.get(key) === life.first ? life.first + 1 : life.first
    for (let k = first; k <= life.last; k++) live[k] = (live[k] as number) + aligned(buffer.bytes)
    ends.set(key, life.last)
  })
  return live
}

function columns(rows: readonly (readonly string[])[], right: ReadonlySet<number>): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] as string).length)))
  return rows.map((row) =>
    row
      .map((cell, column) => (right.has(column) ? cell.padStart(widths[column] as number) : cell.padEnd(widths[column] as number)))
      .join("  ")
      .trimEnd(),
  )
}

const barWidth = 16

/**
 * One line a node: id, op, shapes of its outputs, where the first lies, bytes moved, flops, a bar of the `temp` bytes live at that node against the
 * peak, and where in the model it comes from. Totals follow.
 */
export function printPlan(plan: Plan): string {
  const { nodes, total, peak, bound, memory } = forecast(plan)
  const live = liveBytes(plan)
  const outputs = ({ out }: PlanNode): PlanBuffer[] => out.map((id) => plan.buffers[id] as PlanBuffer)
  const line = (node: PlanNode): string[] => {
    const [first] = outputs(node)
    const filled = peak === 0 ? 0 : Math.round((barWidth * (live[node.id] as number)) / peak)
    return [
      String(node.id),
      node.op,
      outputs(node).map(show).join(" ") || "-",
      first === undefined ? "-" : place(first, plan.buffers),
      short(nodes[node.id]?.bytes as number),
      short(nodes[node.id]?.flops as number),
      "#".repeat(filled).padEnd(barWidth, "."),
      node.at,
    ]
  }
  const header = ["node", "op", "output", "place", "bytes", "flops", "live", "at"]
  const named = (title: string, entries: Readonly<Record<string, number>>): string => {
    const list = Object.entries(entries).map(([name, id]) => `${name} ${show(plan.buffers[id] as PlanBuffer)}`)
    return `${title}: ${list.length > 8 ? `${list.slice(0, 8).join(", ")} and ${list.length - 8} more` : list.join(", ") || "none"}`
  }
  const { temp, state, io } = plan.spaces
  const spaces = `temp ${short(temp)}B (at least ${short(bound)}B), state ${short(state)}B, io ${short(io)}B`
  return [
    plan.name,
    named("inputs", plan.inputs),
    named("state", plan.state),
    named("outputs", plan.outputs),
    "",
    ...columns([header, ...plan.nodes.map(line)], new Set([0, 4, 5])),
    "",
    `${plan.nodes.length} nodes move ${short(total.bytes)}B and compute ${short(total.flops)} flops.`,
    `Memory ${short(memory)}B: ${spaces}, ${plan.weights.length} weights.`,
  ].join("\n")
}
