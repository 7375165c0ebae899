/** When the bytes of each buffer are its own. */
import { elements } from "../graph/tensor.ts"
import { dtypeSize, type Plan, type PlanBuffer } from "./types.ts"

/** Nodes, both included. */
export interface Life {
  first: number
  last: number
}

/** Id of the placed buffer or weight that holds the bytes. */
export const rootId = (buffer: PlanBuffer): number => ("view" in buffer ? buffer.view.of : buffer.id)

export const bytesOf = ({ dtype, shape }: Pick<PlanBuffer, "dtype" | "shape">): number => elements(shape) * dtypeSize[dtype]

/** Per buffer, from the node that writes it first to the last that reads or writes it or a view of it; undefined where no node does. */
export function lives({ buffers, nodes }: Pick<Plan, "buffers" | "nodes">): (Life | undefined)[] {
  const found: (Life | undefined)[] = buffers.map(() => undefined)
  nodes.forEach(({ in: inputs, out }, k) => {
    for (const id of [...inputs, ...out]) {
      if (id === null) continue
      const root = rootId(buffers[id] as PlanBuffer)
      const life = found[root]
      if (life === undefined) found[root] = { first: k, last: k }
      else life.last = k
    }
  })
  return found
}
