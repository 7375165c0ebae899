/** What a trace collects: nodes in order, and everything that has a name outside. */
import type { DType } from "../plan/types.ts"
import { type GraphNode, misuse, type Origin, type Tensor, type WeightForm } from "./tensor.ts"

export class Graph {
  readonly nodes: GraphNode[] = []
  /** In order of declaration; that of `state` is the order of its bytes. */
  readonly inputs: Map<string, Tensor> = new Map()
  readonly state: Map<string, Tensor> = new Map()
  readonly outputs: Map<string, Tensor> = new Map()
  readonly #weights = new Map<string, Tensor>()
  readonly #labels: string[] = []

  /** Where in the model source the trace is now. */
  get label(): string {
    return this.#labels.join(" ")
  }

  /** Labels the nodes that are traced inside `body`; labels nest. */
  at<T>(label: string, body: () => T): T {
    this.#labels.push(label)
    try {
      return body()
    } finally {
      this.#labels.pop()
    }
  }

  #tensor(dtype: DType, shape: readonly number[], origin: Origin): Tensor {
    if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
      throw misuse(`[${shape.join(", ")}] is not a shape`, this.label)
    }
    return { graph: this, dtype, shape: [...shape], origin }
  }

  #named(kind: "input" | "state", map: Map<string, Tensor>, name: string, dtype: DType, shape: readonly number[]): Tensor {
    if (map.has(name)) throw misuse(`${kind} ${name} is declared twice`, this.label)
    const tensor = this.#tensor(dtype, shape, { kind, name })
    map.set(name, tensor)
    return tensor
  }

  /** A value that the host writes before a run. */
  input(name: string, dtype: DType, shape: readonly number[]): Tensor {
    return this.#named("input", this.inputs, name, dtype, shape)
  }

  /** A value that lives from run to run; ops that update it say so in the table. */
  stateBuffer(name: string, dtype: DType, shape: readonly number[]): Tensor {
    return this.#named("state", this.state, name, dtype, shape)
  }

  /** A checkpoint tensor; `dtype` and `shape` are what the kernels see. The same one twice is one. */
  weight(key: string, form: { as: WeightForm; transpose: boolean }, dtype: DType, shape: readonly number[]): Tensor {
    const id = `${form.as} ${form.transpose} ${key}`
    const known = this.#weights.get(id)
    if (known !== undefined) return known
    const tensor = this.#tensor(dtype, shape, { kind: "weight", key, ...form })
    this.#weights.set(id, tensor)
    return tensor
  }

  /** Appends a node. Shapes are the caller's business: `ops/apply.ts` derives them from the table. */
  node(
    op: string,
    inputs: readonly (Tensor | null)[],
    outputs: readonly { name: string; dtype: DType; shape: readonly number[] }[],
    attrs: GraphNode["attrs"],
  ): readonly Tensor[] {
    if (inputs.some((tensor) => tensor !== null && tensor.graph !== this)) {
      throw misuse(`${op} mixes tensors of two programs`, this.label)
    }
    const out: Tensor[] = []
    const node: GraphNode = { op, in: [...inputs], out, attrs, at: this.label }
    for (const { name, dtype, shape } of outputs) out.push(this.#tensor(dtype, shape, { kind: "node", node, name }))
    this.nodes.push(node)
    return out
  }

  /** Makes a node's output readable by the host. */
  output(name: string, tensor: Tensor): void {
    if (this.outputs.has(name) || this.inputs.has(name)) throw misuse(`${name} is the name of another input or output`, this.label)
    if (tensor.origin.kind !== "node") throw misuse(`output ${name} is of kind ${tensor.origin.kind}, not what an op computes`, this.label)
    if ([...this.outputs.values()].includes(tensor)) throw misuse(`output ${name} is another output already`, this.label)
    this.outputs.set(name, tensor)
  }
}
