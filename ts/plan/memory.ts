/**
 * Where the buffers of `temp` lie. All lifetimes are known, so this is packing: outputs take over the bytes of inputs that end there, where the op
 * table allows it; then, largest first, each block goes into the smallest gap that fits between the blocks it lives together with.
 */
import type { OpName } from "../ops/ops.gen.ts"
import { rows } from "../ops/typing.ts"
import { bytesOf, type Life, lives, rootId } from "./lives.ts"
import type { Plan, PlanBuffer } from "./types.ts"

/** Offsets are multiples of this many bytes. */
export const alignment = 256

export const aligned = (bytes: number): number => Math.ceil(bytes / alignment) * alignment

/** One range of bytes that one or, in place, several buffers hold in turn. */
export interface Block extends Life {
  bytes: number
  /** Ids of its buffers, oldest first. */
  buffers: number[]
}

export interface Memory {
  /** By id of the buffer. */
  offsets: Map<number, number>
  /** Bytes of the whole space. */
  peak: number
  /** The most bytes that are live at one node: no packing of these blocks needs less. */
  bound: number
  /** peak / bound, 1 for nothing at all. */
  ratio: number
}

const isTemp = (buffer: PlanBuffer): boolean => "space" in buffer && buffer.space === "temp"

/** By id, the buffer whose bytes each one takes over. */
function takeovers(plan: Pick<Plan, "buffers" | "nodes">, life: readonly (Life | undefined)[]): Map<number, number> {
  const { buffers, nodes } = plan
  const taken = new Map<number, number>()
  for (const [k, node] of nodes.entries()) {
    const row = rows[node.op as OpName]
    const ending = new Set<number>()
    for (const [input, output] of row.inplace) {
      const from = node.in[row.inputs.findIndex(({ name }) => name === input)]
      const to = node.out[row.outputs.findIndex(({ name }) => name === output)]
      if (from === null || from === undefined || to === undefined || taken.has(to) || ending.has(from)) continue
      const [a, y] = [buffers[from] as PlanBuffer, buffers[to] as PlanBuffer]
      const uses = node.in.filter((id) => id !== null && rootId(buffers[id] as PlanBuffer) === from).length
      if (!isTemp(a) || !isTemp(y) || bytesOf(a) !== bytesOf(y) || life[from]?.last !== k || uses !== 1) continue
      ending.add(from)
      taken.set(to, from)
    }
  }
  return taken
}

/** Buffers of `temp` joined where one takes over another's bytes. */
function blocks(plan: Pick<Plan, "buffers" | "nodes">): Block[] {
  const life = lives(plan)
  const taken = takeovers(plan, life)
  const of = new Map<number, Block>()
  // Ids follow the nodes, so a buffer comes after the one that it takes over.
  for (const buffer of plan.buffers) {
    const own = life[buffer.id]
    if (!isTemp(buffer) || own === undefined) continue
    const block = of.get(taken.get(buffer.id) ?? -1) ?? { ...own, bytes: aligned(bytesOf(buffer)), buffers: [] }
    block.last = own.last
    block.buffers.push(buffer.id)
    of.set(buffer.id, block)
  }
  return [...new Set(of.values())]
}

/** The smallest gap that holds `bytes` between the taken ranges, or the end of the last one. */
function bestFit(bytes: number, ranges: readonly (readonly [start: number, end: number])[]): number {
  let end = 0
  let best: { offset: number; room: number } | undefined
  for (const [start, stop] of ranges) {
    const room = start - end
    if (room >= bytes && (best === undefined || room < best.room)) best = { offset: end, room }
    end = Math.max(end, stop)
  }
  return best?.offset ?? end
}

/** The most bytes live at one node. */
function mostLive(all: readonly Block[], nodes: number): number {
  const change = new Array<number>(nodes + 1).fill(0)
  for (const { first, last, bytes } of all) {
    change[first] = (change[first] as number) + bytes
    change[last + 1] = (change[last + 1] as number) - bytes
  }
  let live = 0
  return change.reduce((most, bytes) => {
    live += bytes
    return Math.max(most, live)
  }, 0)
}

/** Places every buffer of `temp`. What the plan says of offsets is not looked at. */
export function placeTemp(plan: Pick<Plan, "buffers" | "nodes">): Memory {
  const all = blocks(plan)
  const order = [...all].sort((a, b) => b.bytes - a.bytes || b.last - b.first - (a.last - a.first) || a.first - b.first)
  const placed: { block: Block; offset: number }[] = []
  const offsets = new Map<number, number>()
  let peak = 0
  for (const block of order) {
    const together = placed.filter((other) => other.block.first <= block.last && block.first <= other.block.last)
    const ranges = together.map(({ offset, block: { bytes } }) => [offset, offset + bytes] as const).sort((a, b) => a[0] - b[0])
    const offset = bestFit(block.bytes, ranges)
    placed.push({ block, offset })
    for (const id of block.buffers) offsets.set(id, offset)
    peak = Math.max(peak, offset + block.bytes)
  }
  const bound = mostLive(all, plan.nodes.length)
  return { offsets, peak, bound, ratio: bound === 0 ? 1 : peak / bound }
}
