/** Symbolic tensors: a shape, a dtype and where the value comes from. Nothing here has bytes. */
import { PlanError } from "../errors.ts"
import type { DType } from "../plan/types.ts"
import type { Graph } from "./graph.ts"

/** How a checkpoint tensor reaches the kernels: as in the file, widened to f32, or −exp of the widened value. */
export type WeightForm = "stored" | "f32" | "negexp"

export interface GraphNode {
  readonly op: string
  /** By position in the op table; null for an optional input that is absent. */
  readonly in: readonly (Tensor | null)[]
  readonly out: readonly Tensor[]
  readonly attrs: Readonly<Record<string, number | boolean | string>>
  readonly at: string
}

export type Origin =
  | { readonly kind: "input" | "state"; readonly name: string }
  | { readonly kind: "weight"; readonly key: string; readonly as: WeightForm; readonly transpose: boolean }
  | { readonly kind: "node"; readonly node: GraphNode; readonly name: string }
  /** A window on a tensor that is not itself a view: rows of the last axis, `ld` elements apart, the first at element `start`. */
  | { readonly kind: "view"; readonly of: Tensor; readonly start: number; readonly ld: number }

export interface Tensor {
  readonly graph: Graph
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly origin: Origin
}

export const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)
export const show = (tensor: { dtype: DType; shape: readonly number[] }): string => `${tensor.dtype}[${tensor.shape.join(", ")}]`

/** The error of a program that was put together wrongly: a mistake in a model definition, never in a checkpoint or an option. */
export function misuse(message: string, at: string): PlanError {
  const place = at === "" ? "" : ` (at ${at})`
  return new PlanError("PLAN_TRACE", `${message}${place}.`, {
    fix: "Correct the model definition.",
    issues: [{ code: "trace", message, path: at }],
  })
}

/** Elements from row to row of the last axis. */
export function pitch(tensor: Tensor): number {
  return tensor.origin.kind === "view" ? tensor.origin.ld : lastAxis(tensor)
}

/** Whether rows of the last axis are adjacent. */
export const isContiguous = (tensor: Tensor): boolean => pitch(tensor) === lastAxis(tensor)

/** The tensor that holds the bytes. */
export const rootOf = (tensor: Tensor): Tensor => (tensor.origin.kind === "view" ? tensor.origin.of : tensor)

const lastAxis = (tensor: Tensor): number => tensor.shape.at(-1) ?? 1

function view(tensor: Tensor, shape: readonly number[], offset: number, ld: number): Tensor {
  const { graph, dtype, origin } = tensor
  if (origin.kind === "weight") throw misuse(`weight ${origin.key} cannot be viewed`, graph.label)
  const start = offset + (origin.kind === "view" ? origin.start : 0)
  return { graph, dtype, shape, origin: { kind: "view", of: rootOf(tensor), start, ld } }
}

/** Parts of the last axis, of the given sizes or in equal halves. Views: no node, no copy. */
export function split(tensor: Tensor, sizes?: readonly number[]): Tensor[] {
  const { shape, graph } = tensor
  const width = lastAxis(tensor)
  const parts = sizes ?? [width / 2, width / 2]
  const valid = shape.length > 0 && parts.every((size) => Number.isInteger(size) && size > 0)
  if (!valid || parts.reduce((sum, size) => sum + size, 0) !== width) {
    throw misuse(`${show(tensor)} does not split into ${parts.join(" + ")}`, graph.label)
  }
  let start = 0
  return parts.map((size) => {
    const part = view(tensor, [...shape.slice(0, -1), size], start, pitch(tensor))
    start += size
    return part
  })
}

/** The same elements in the same order under another shape. A view: rows must be adjacent. */
export function reshape(tensor: Tensor, shape: readonly number[]): Tensor {
  if (!isContiguous(tensor) || elements(shape) !== elements(tensor.shape)) {
    const rows = isContiguous(tensor) ? "" : ` with rows ${pitch(tensor)} apart`
    throw misuse(`${show(tensor)}${rows} does not reshape to [${shape.join(", ")}]`, tensor.graph.label)
  }
  return view(tensor, [...shape], 0, shape.at(-1) ?? 1)
}
