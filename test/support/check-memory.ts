/**
 * Whether a plan's memory is sound, found without lifetimes: the nodes are played over a map of who wrote each 256 bytes of `temp` last. Shares
 * no code with the planner and reads the op table itself.
 */
import { readFileSync } from "node:fs"
import type { PlacedBuffer, Plan, PlanBuffer } from "../../ts/plan/types.ts"

interface Row {
  name: string
  inputs: { name: string }[]
  outputs: { name: string }[]
  inplace: [string, string][]
}
const table: Row[] = JSON.parse(readFileSync(new URL("../../spec/ops.json", import.meta.url), "utf8")).ops
const granule = 256

export interface Verdict {
  problems: string[]
  /** The most granules, in bytes, whose content is still needed at one node. */
  mostNeeded: number
}

export function checkMemory(plan: Plan): Verdict {
  const problems: string[] = []
  const root = (id: number): PlacedBuffer | undefined => {
    const buffer = plan.buffers[id] as PlanBuffer
    const holder = "view" in buffer ? plan.buffers[buffer.view.of] : buffer
    return holder !== undefined && "offset" in holder && holder.space === "temp" ? holder : undefined
  }
  const granules = ({ offset, bytes }: PlacedBuffer): number[] =>
    Array.from({ length: Math.ceil(bytes / granule) }, (_, i) => offset / granule + i)
  /** By granule: the id of the buffer written there last, and the node that did it. */
  const owner = new Map<number, { id: number; node: number }>()
  const needed: Set<number>[] = plan.nodes.map(() => new Set())
  for (const node of plan.nodes) {
    const row = table.find(({ name }) => name === node.op) as Row
    const inputs = node.in.map((id) => (id === null ? undefined : root(id)))
    const outputs = node.out.map(root)
    for (const buffer of inputs) {
      for (const at of buffer === undefined ? [] : granules(buffer)) {
        const writer = owner.get(at)
        if (writer?.id !== buffer?.id) problems.push(`node ${node.id} reads ${buffer?.name}, overwritten at ${at * granule}`)
        else for (let k = writer?.node as number; k <= node.id; k++) (needed[k] as Set<number>).add(at)
      }
    }
    outputs.forEach((output, o) => {
      if (output === undefined) return
      const mine = new Set(granules(output))
      inputs.forEach((input, i) => {
        if (input === undefined || !granules(input).some((at) => mine.has(at))) return
        const pair = row.inplace.some(([a, y]) => row.inputs[i]?.name === a && row.outputs[o]?.name === y)
        const same = input.offset === output.offset && input.bytes === output.bytes && node.in[i] === input.id
        const once = inputs.filter((other) => other === input).length === 1
        if (!pair || !same || !once) problems.push(`node ${node.id} writes ${output.name} over its input ${input.name}`)
      })
      for (const other of outputs.slice(0, o)) {
        if (other !== undefined && granules(other).some((at) => mine.has(at))) problems.push(`node ${node.id} writes one place twice`)
      }
      for (const at of mine) {
        owner.set(at, { id: output.id, node: node.id })
        ;(needed[node.id] as Set<number>).add(at)
      }
      if (output.offset % granule !== 0 || output.offset + output.bytes > plan.spaces.temp) problems.push(`${output.name} is misplaced`)
    })
  }
  return { problems, mostNeeded: granule * Math.max(0, ...needed.map(({ size }) => size)) }
}
