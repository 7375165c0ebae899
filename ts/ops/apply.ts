/** From operands to a node: shapes, dtypes and attributes are checked against the table while the program is traced. */
import { isContiguous, misuse, show, type Tensor } from "../graph/tensor.ts"
import type { AttrsOf, InputsOf, OpName } from "./ops.gen.ts"
import { type Attrs, bindDims, outputDtype, type Row, rows, sameShape } from "./typing.ts"

export type Inputs<K extends OpName> = { readonly [I in InputsOf[K]]?: Tensor | undefined }

function checkInputs(row: Row, inputs: readonly (Tensor | null)[], dims: Readonly<Record<string, number>>, at: string): void {
  row.inputs.forEach((spec, i) => {
    const tensor = inputs[i]
    if (tensor === null || tensor === undefined) {
      if (!spec.optional) throw misuse(`${row.name} lacks ${spec.name}`, at)
      return
    }
    const wanted = spec.dims(dims)
    if (!sameShape(wanted, tensor.shape)) {
      // An expression that nothing bound has no size.
      const sizes = wanted.map((size, axis) => (Number.isFinite(size) ? `${spec.shape[axis]} = ${size}` : spec.shape[axis]))
      throw misuse(`${row.name}: ${spec.name} must be [${sizes.join(", ")}]; it is ${show(tensor)}`, at)
    }
    const like = inputs[row.inputs.findIndex(({ name }) => name === spec.like)]?.dtype
    const dtypes = spec.dtypes.filter((dtype) => like === undefined || dtype === like)
    if (!dtypes.includes(tensor.dtype)) throw misuse(`${row.name}: ${spec.name} must be ${dtypes.join(" or ")}; it is ${show(tensor)}`, at)
    if (!spec.ld && !isContiguous(tensor)) throw misuse(`${row.name}: ${spec.name} must have adjacent rows`, at)
    if (row.updates.includes(spec.name) && tensor.origin.kind !== "state") {
      throw misuse(`${row.name}: ${spec.name} is updated, so it must be a state buffer, not of kind ${tensor.origin.kind}`, at)
    }
  })
  const broken = row.requires.find(({ holds }) => !holds(dims))
  if (broken !== undefined) throw misuse(`${row.name}: ${broken.text} does not hold for ${JSON.stringify(dims)}`, at)
}

/** Appends a node and returns its outputs. Attributes that are left out have the table's default. Throws PlanError. */
export function apply<K extends OpName>(name: K, inputs: Inputs<K>, attrs: Partial<AttrsOf[K]> = {}): readonly Tensor[] {
  const row = rows[name]
  const given = inputs as Readonly<Record<string, Tensor | undefined>>
  const operands = row.inputs.map((spec) => given[spec.name] ?? null)
  const graph = operands.find((tensor) => tensor !== null)?.graph
  if (graph === undefined) throw misuse(`${name} has no inputs`, "")
  const chosen = attrs as Readonly<Record<string, Attrs[string] | undefined>>
  const full: Attrs = Object.fromEntries(row.attrs.map((attr) => [attr.name, chosen[attr.name] ?? attr.default]))
  const dims = bindDims(
    row,
    operands.map((tensor) => tensor?.shape ?? null),
    full,
  )
  checkInputs(row, operands, dims, graph.label)
  const outputs = row.outputs.map((spec) => ({
    name: spec.name,
    dtype: outputDtype(spec, full, (input) => given[input]?.dtype),
    shape: spec.dims(dims),
  }))
  return graph.node(name, operands, outputs, full)
}

/** The same for an op with one output. */
export function value<K extends OpName>(name: K, inputs: Inputs<K>, attrs: Partial<AttrsOf[K]> = {}): Tensor {
  return apply(name, inputs, attrs)[0] as Tensor
}
