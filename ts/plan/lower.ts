/** From a trace to a plan: nodes that nothing needs are left out, everything gets an id, a name and a place. */
import type { Graph } from "../graph/graph.ts"
import { type GraphNode, isContiguous, misuse, rootOf, type Tensor } from "../graph/tensor.ts"
import { type OpName, opset } from "../ops/ops.gen.ts"
import { rows } from "../ops/typing.ts"
import { bytesOf } from "./lives.ts"
import { aligned, placeTemp } from "./memory.ts"
import { dtypeSize, type Plan, type PlanBuffer, type PlanWeight } from "./types.ts"

/** Hash of the op table that plans are made with. */
export { opset }

/** Whether a run leaves a trace of this node beyond its outputs. */
const updates = ({ op, in: inputs }: GraphNode): boolean => {
  const row = rows[op as OpName]
  return row.inputs.some(({ name }, i) => row.updates.includes(name) && inputs[i] !== null)
}

/** The nodes that an output or a state buffer depends on, in order. */
function needed(graph: Graph): GraphNode[] {
  const wanted = new Set<Tensor>(graph.outputs.values())
  const kept: GraphNode[] = []
  for (const node of [...graph.nodes].reverse()) {
    if (!updates(node) && !node.out.some((tensor) => wanted.has(tensor))) continue
    kept.push(node)
    for (const tensor of node.in) if (tensor !== null) wanted.add(rootOf(tensor))
  }
  return kept.reverse()
}

/** Buffers in the making: ids in order of need, state and inputs first, so that programs of one model agree on the state's. */
class Buffers {
  readonly all: PlanBuffer[] = []
  readonly weights: PlanWeight[] = []
  readonly spaces: Plan["spaces"] = { temp: 0, state: 0, io: 0 }
  readonly #ids = new Map<Tensor, number>()
  readonly #names = new Set<string>()

  id(tensor: Tensor): number {
    const id = this.#ids.get(tensor)
    if (id === undefined) throw misuse("a value is used before the node that computes it", tensor.graph.label)
    return id
  }

  /** Offsets in `temp` come later, when all lives are known. */
  place(tensor: Tensor, space: "temp" | "state" | "io", name: string): number {
    const { dtype } = tensor
    const shape = [...tensor.shape]
    const bytes = bytesOf({ dtype, shape })
    const offset = space === "temp" ? 0 : this.spaces[space]
    if (space !== "temp") this.spaces[space] += aligned(bytes)
    return this.#add(tensor, { id: this.all.length, name: this.#unique(name), dtype, shape, space, offset, bytes })
  }

  /** A weight or view when it is first read, or what is there already. */
  read(tensor: Tensor): number {
    const known = this.#ids.get(tensor)
    if (known !== undefined) return known
    const { origin, dtype } = tensor
    const shape = [...tensor.shape]
    const id = this.all.length
    if (origin.kind === "weight") {
      const { key, as, transpose } = origin
      const form = `${as === "stored" ? "" : ` ${as}`}${transpose ? " transposed" : ""}`
      this.weights.push({ buffer: id, key, as, ...(transpose && { transpose }), dtype, shape })
      return this.#add(tensor, { id, name: this.#unique(key + form), dtype, shape, space: "weights" })
    }
    if (origin.kind !== "view") return this.id(tensor)
    const of = this.id(origin.of)
    const name = this.#unique(`${(this.all[of] as PlanBuffer).name}[${origin.start}:${origin.start + (shape.at(-1) ?? 1)}]`)
    const view = { of, byte: origin.start * dtypeSize[dtype], ...(!isContiguous(tensor) && { ld: origin.ld }) }
    return this.#add(tensor, { id, name, dtype, shape, view })
  }

  #add(tensor: Tensor, buffer: PlanBuffer): number {
    this.all.push(buffer)
    this.#ids.set(tensor, buffer.id)
    return buffer.id
  }

  #unique(name: string): string {
    let unique = name
    for (let count = 2; this.#names.has(unique); count++) unique = `${name} #${count}`
    this.#names.add(unique)
    return unique
  }
}

/** The plan of a traced program. The same trace gives the same plan, byte for byte. */
export function lower(graph: Graph, name: string): Plan {
  const buffers = new Buffers()
  const ids = (entries: Iterable<[string, Tensor]>, id: (name: string, tensor: Tensor) => number): Record<string, number> =>
    Object.fromEntries([...entries].map(([key, tensor]) => [key, id(key, tensor)]))
  const state = ids(graph.state, (key, tensor) => buffers.place(tensor, "state", key))
  const inputs = ids(graph.inputs, (key, tensor) => buffers.place(tensor, "io", `io.${key}`))
  const shown = new Map([...graph.outputs].map(([key, tensor]) => [tensor, key]))
  const nodes = needed(graph).map((node, id) => {
    const read = node.in.map((tensor) => (tensor === null ? null : buffers.read(tensor)))
    const out = node.out.map((tensor) => {
      const key = shown.get(tensor)
      if (key !== undefined) return buffers.place(tensor, "io", `io.${key}`)
      const output = tensor.origin.kind === "node" ? tensor.origin.name : ""
      return buffers.place(tensor, "temp", `${node.at} ${output}`.trim())
    })
    return { id, op: node.op, in: read, out, attrs: { ...node.attrs }, at: node.at }
  })
  const outputs = ids(graph.outputs, (_key, tensor) => buffers.id(tensor))
  const { offsets, peak } = placeTemp({ buffers: buffers.all, nodes })
  for (const buffer of buffers.all) {
    const offset = offsets.get(buffer.id)
    if (offset !== undefined && "offset" in buffer) buffer.offset = offset
  }
  const spaces = { ...buffers.spaces, temp: peak }
  return { format: 1, opset, name, spaces, weights: buffers.weights, buffers: buffers.all, nodes, inputs, outputs, state }
}
