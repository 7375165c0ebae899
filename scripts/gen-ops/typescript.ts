/** The TypeScript declarations of the op table. */
import { type Attr, type Expr, type Input, names, type Op, parse, pascal, rule } from "./table.ts"

function ts(e: Expr): string {
  if ("int" in e) return String(e.int)
  if ("name" in e) return `d.${e.name}!`
  if (e.op === "ceil") return `Math.ceil(${ts(e.a)} / ${ts(e.b)})`
  const side = (x: Expr, bare: boolean): string => ("op" in x && x.op !== "ceil" && !bare ? `(${ts(x)})` : ts(x))
  return `${side(e.a, "op" in e.a && e.a.op === e.op)} ${e.op} ${side(e.b, false)}`
}

const union = (items: string[]): string => (items.length ? items.map((i) => JSON.stringify(i)).join(" | ") : "never")
const fn = (e: Expr): string => (names(e).length ? `(d) => ${ts(e)}` : `() => ${ts(e)}`)
const shapeFn = (s: string[]): string => `(d) => [${s.map((x) => ts(parse(x))).join(", ")}]`
const tsAttr = (a: Attr): string => (a.type === "enum" ? union(a.values ?? []) : a.type === "bool" ? "boolean" : "number")
const input = (i: Input): string => {
  const dims = `shape: ${JSON.stringify(i.shape)}, dims: ${shapeFn(i.shape)}`
  const like = i.like === undefined ? "" : `like: "${i.like}", `
  return `{ name: "${i.name}", ${dims}, dtypes: ${JSON.stringify(i.dtypes)}, ${like}optional: ${!!i.optional}, ld: ${!!i.ld} }`
}
const tsOp = (o: Op): string => `  ${o.name}: {
    name: "${o.name}",
    inputs: [${o.inputs
      .map(
        (i) => `
      ${input(i)},`,
      )
      .join("")}
    ],
    outputs: [${o.outputs
      .map(
        (t) => `
      { name: "${t.name}", shape: ${JSON.stringify(t.shape)}, dims: ${shapeFn(t.shape)}, dtype: "${t.dtype}" },`,
      )
      .join("")}
    ],
    attrs: [${o.attrs
      .map(
        (a) => `
      { name: "${a.name}", type: "${a.type}", ${a.values ? `values: ${JSON.stringify(a.values)}, ` : ""}default: ${JSON.stringify(a.default)} },`,
      )
      .join("")}
    ],
    inplace: ${JSON.stringify(o.inplace)},
    updates: ${JSON.stringify(o.updates)},
    requires: [${(o.requires ?? [])
      .map((r) => {
        const { left, cmp, right } = rule(r)
        return `{ text: "${r}", holds: (d) => ${ts(left)} ${cmp === "==" ? "===" : cmp} ${ts(right)} }`
      })
      .join(", ")}],
    bytes: ${fn(parse(o.bytes))},
    flops: ${fn(parse(o.flops))},
  },
`

/** The whole of `ts/ops/ops.gen.ts`. */
export function typescript(ops: Op[], opset: string): string {
  const perOp = (f: (o: Op) => string): string => ops.map(f).join("")
  return `// Written by scripts/gen-ops.ts from spec/ops.json. Do not edit.
import type { DType } from "../plan/types.ts"

/** Hash of the op table; an engine refuses a plan made with another. */
export const opset: string = "${opset}"

export type OpName = ${union(ops.map((o) => o.name))}

${perOp(
  (o) => `/** ${o.doc} */
export interface ${pascal(o.name)}Attrs {${o.attrs.length ? ` ${o.attrs.map((a) => `${a.name}: ${tsAttr(a)}`).join("; ")} ` : ""}}
export type ${pascal(o.name)}Input = ${union(o.inputs.map((i) => i.name))}
export type ${pascal(o.name)}Output = ${union(o.outputs.map((i) => i.name))}

`,
)}/** Types by op name. */
export interface AttrsOf { ${ops.map((o) => `${o.name}: ${pascal(o.name)}Attrs`).join("; ")} }
export interface InputsOf { ${ops.map((o) => `${o.name}: ${pascal(o.name)}Input`).join("; ")} }
export interface OutputsOf { ${ops.map((o) => `${o.name}: ${pascal(o.name)}Output`).join("; ")} }

/** Values of an op's symbols and u32 attributes; for \`bytes\` also the element sizes, in bytes, of its tensors by name. */
export type Dims = Readonly<Record<string, number>>
/**
 * \`shape\` as in the table, one expression an axis; \`dims\` its value. \`like\`: the input whose dtype this one has. \`ld\`: rows may lie further
 * apart than the last axis is long.
 */
export interface InputSpec<N extends string = string> {
  readonly name: N; readonly shape: readonly string[]; readonly dims: (d: Dims) => number[]
  readonly dtypes: readonly DType[]; readonly like?: string; readonly optional: boolean; readonly ld: boolean
}
/** \`dtype\` is \`attr:name\` where an attribute gives it, \`like:name\` where it is an input's. */
export interface OutputSpec<N extends string = string> {
  readonly name: N; readonly shape: readonly string[]; readonly dims: (d: Dims) => number[]
  readonly dtype: DType | \`attr:\${string}\` | \`like:\${string}\`
}
export interface AttrSpec<N extends string = string> {
  readonly name: N; readonly type: "f32" | "u32" | "bool" | "enum"; readonly values?: readonly string[]; readonly default: number | boolean | string
}
export interface Signature<K extends OpName = OpName> {
  readonly name: K
  readonly inputs: readonly InputSpec<InputsOf[K]>[]
  readonly outputs: readonly OutputSpec<OutputsOf[K]>[]
  readonly attrs: readonly AttrSpec<Extract<keyof AttrsOf[K], string>>[]
  /** [input, output] pairs that may lie in the same bytes. */
  readonly inplace: readonly (readonly [InputsOf[K], OutputsOf[K]])[]
  /** Inputs that the op also writes; they are state. */
  readonly updates: readonly InputsOf[K][]
  /** What must hold of the symbols beyond the shapes. */
  readonly requires: readonly { readonly text: string; readonly holds: (d: Dims) => boolean }[]
  readonly bytes: (d: Dims) => number
  readonly flops: (d: Dims) => number
}

/** The table. */
export const ops: { readonly [K in OpName]: Signature<K> } = {
${perOp(tsOp)}}
`
}
