/** The op table as data, and the one rule by which shapes follow from it: symbols are bound by the operands, then every expression must hold. */
import type { DType } from "../plan/types.ts"
import { type AttrSpec, type Dims, type InputSpec, type OpName, type OutputSpec, ops } from "./ops.gen.ts"

/** A row of the table, whatever its op. */
export interface Row {
  readonly name: OpName
  readonly inputs: readonly InputSpec[]
  readonly outputs: readonly OutputSpec[]
  readonly attrs: readonly AttrSpec[]
  readonly inplace: readonly (readonly [string, string])[]
  readonly updates: readonly string[]
  readonly requires: readonly { readonly text: string; readonly holds: (d: Dims) => boolean }[]
  readonly bytes: (d: Dims) => number
  readonly flops: (d: Dims) => number
}
export const rows: Readonly<Record<OpName, Row>> = ops

export type Attrs = Readonly<Record<string, number | boolean | string>>
/** By position in the row; null where an optional input is absent. */
export type Shapes = readonly (readonly number[] | null)[]

/** Values of the row's symbols. A symbol that stands alone on an axis is bound by that axis; numbers among the attributes are symbols too. */
export function bindDims(row: Row, inputs: Shapes, attrs: Attrs): Record<string, number> {
  const dims: Record<string, number> = {}
  for (const [name, value] of Object.entries(attrs)) if (typeof value === "number") dims[name] = value
  row.inputs.forEach(({ shape }, i) => {
    shape.forEach((symbol, axis) => {
      const size = inputs[i]?.[axis]
      if (size !== undefined && /^[a-z]\w*$/.test(symbol)) dims[symbol] ??= size
    })
  })
  return dims
}

export const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((size, axis) => size === b[axis])

/** The dtype of an output, which an attribute may decide, or an input's: `dtypeOf` knows those. */
export function outputDtype({ dtype }: OutputSpec, attrs: Attrs, dtypeOf: (input: string) => DType | undefined): DType {
  if (dtype.startsWith("like:")) return dtypeOf(dtype.slice(5)) as DType
  return (dtype.startsWith("attr:") ? attrs[dtype.slice(5)] : dtype) as DType
}
