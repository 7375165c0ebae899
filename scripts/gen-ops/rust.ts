/** The Rust declarations of the op table. */
import { type Attr, type Expr, type Input, likeOf, type Op, type Output, parse, pascal, rule } from "./table.ts"

function expr(e: Expr): string {
  if ("int" in e) return `Int(${e.int})`
  if ("name" in e) return `Name("${e.name}")`
  const variant = { "+": "Add", "-": "Sub", "*": "Mul", "%": "Rem", ceil: "CeilDiv" }[e.op]
  return `${variant}(&${expr(e.a)}, &${expr(e.b)})`
}
const shape = (s: string[]): string => `&[${s.map((x) => expr(parse(x))).join(", ")}]`
const dtype = (d: string): string => `DType::${pascal(d)}`
const doc = (text: string): string => text.replace(/[[\]]/g, "\\$&")
const type = (a: Attr): string => (a.type === "enum" ? pascal(a.name) : a.type)
const value = (a: Attr): string => (a.type === "enum" ? `${pascal(a.name)}::${pascal(String(a.default))}` : String(a.default))
const read = (a: Attr): string =>
  a.type === "enum" ? `r.choice("${a.name}", ${pascal(a.name)}::ALL, ${pascal(a.name)}::name)` : `r.${a.type}("${a.name}")`

const choice = (a: Attr): string => `
/** The values of the attribute \`${a.name}\`. */
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ${pascal(a.name)} {${(a.values ?? [])
  .map(
    (v) => `
    /** \`${v}\` */
    ${pascal(v)},`,
  )
  .join("")}
}

impl ${pascal(a.name)} {
    /** All values, in the order of the table. */
    pub const ALL: &'static [Self] = &[${(a.values ?? []).map((v) => `Self::${pascal(v)}`).join(", ")}];
    /** As the plan spells it. */
    pub fn name(self) -> &'static str {
        match self { ${(a.values ?? []).map((v) => `Self::${pascal(v)} => "${v}"`).join(", ")} }
    }
}
`
const attrs = (o: Op): string =>
  !o.attrs.length
    ? ""
    : `
/** Attributes of [\`Op::${pascal(o.name)}\`]. */
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ${pascal(o.name)}Attrs {${o.attrs
        .map(
          (a) => `
    /** \`${a.name}\`, \`${a.default}\` unless said otherwise. */
    pub ${a.name}: ${type(a)},`,
        )
        .join("")}
}

impl Default for ${pascal(o.name)}Attrs {
    fn default() -> Self {
        Self { ${o.attrs.map((a) => `${a.name}: ${value(a)}`).join(", ")} }
    }
}
`
const position = (o: Op, name: string): number => o.inputs.findIndex((i) => i.name === name)
const input = (o: Op, i: Input): string => {
  const dtypes = i.dtypes.map(dtype).join(", ")
  const like = i.like === undefined ? "None" : `Some(${position(o, i.like)})`
  return `Input { name: "${i.name}", shape: ${shape(i.shape)}, dtypes: &[${dtypes}], like: ${like}, optional: ${!!i.optional}, ld: ${!!i.ld} }`
}
const output = (o: Op, t: Output): string => {
  const like = likeOf(t.dtype)
  const given = t.dtype.startsWith("attr:") ? `Attr("${t.dtype.slice(5)}")` : `Is(${dtype(t.dtype)})`
  const type = like === undefined ? given : `Like(${position(o, like)})`
  return `Output { name: "${t.name}", shape: ${shape(t.shape)}, dtype: OutputType::${type} }`
}
const signature = (o: Op): string => {
  const tensor = (list: { name: string }[], name: string): number => list.findIndex((t) => t.name === name)
  return `
static ${o.name.toUpperCase()}: Signature = Signature {
    inputs: &[${o.inputs
      .map(
        (i) => `
        ${input(o, i)},`,
      )
      .join("")}
    ],
    outputs: &[${o.outputs
      .map(
        (t) => `
        ${output(o, t)},`,
      )
      .join("")}
    ],
    inplace: &[${o.inplace.map(([i, t]) => `(${tensor(o.inputs, i)}, ${tensor(o.outputs, t)})`).join(", ")}],
    updates: &[${o.updates.map((i) => tensor(o.inputs, i)).join(", ")}],
    requires: &[${(o.requires ?? [])
      .map((r) => {
        const { left, cmp, right } = rule(r)
        return `Rule { text: "${r}", left: ${expr(left)}, cmp: Cmp::${cmp === ">=" ? "Ge" : cmp === "<=" ? "Le" : "Eq"}, right: ${expr(right)} }`
      })
      .join(", ")}],
    bytes: ${expr(parse(o.bytes))},
    flops: ${expr(parse(o.flops))},
};
`
}

/** The whole of `crates/plan/src/ops.gen.rs`. */
export function rust(ops: Op[], opset: string): string {
  const perOp = (f: (o: Op) => string): string => ops.map(f).join("")
  const choices = new Map(ops.flatMap((o) => o.attrs.filter((a) => a.type === "enum").map((a) => [a.name, a] as const)))
  const typed = ops.flatMap((o) => o.outputs.filter((t) => t.dtype.startsWith("attr:")).map((t) => [o, t.dtype.slice(5)] as const))
  return `// Written by scripts/gen-ops.ts from spec/ops.json. Do not edit.
use crate::attrs::AttrReader;
use crate::signature::{Cmp, DType, Expr::*, Input, Output, OutputType, Rule, Signature};

/** Hash of the op table; a plan made with another is refused. */
pub const OPSET: &str = "${opset}";

/** A row of the op table. */
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
${perOp((o) => `    /** ${doc(o.doc)} */\n    ${pascal(o.name)},\n`)}}

impl Op {
    /** All ops, in the order of the table. */
    pub const ALL: &'static [Op] = &[${ops.map((o) => `Op::${pascal(o.name)}`).join(", ")}];

    /** As the plan spells it. */
    pub fn name(self) -> &'static str {
        match self {
${perOp((o) => `            Op::${pascal(o.name)} => "${o.name}",\n`)}        }
    }

    /** The op of that name. */
    pub fn from_name(name: &str) -> Option<Op> {
        Self::ALL.iter().copied().find(|op| op.name() == name)
    }

    /** What the op takes and gives. */
    pub fn signature(self) -> &'static Signature {
        match self {
${perOp((o) => `            Op::${pascal(o.name)} => &${o.name.toUpperCase()},\n`)}        }
    }
}
${[...choices.values()].map(choice).join("")}${perOp(attrs)}
/** The attributes of a node, by op. */
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attrs {
${perOp((o) => `    /** Of [\`Op::${pascal(o.name)}\`]. */\n    ${pascal(o.name)}${o.attrs.length ? `(${pascal(o.name)}Attrs)` : ""},\n`)}}

impl Attrs {
    pub(crate) fn read(op: Op, r: &mut AttrReader<'_>) -> Option<Attrs> {
        Some(match op {
${perOp(
  (o) =>
    `            Op::${pascal(o.name)} => ${
      o.attrs.length
        ? `{
                let (${o.attrs.map((a) => a.name).join(", ")},) = (${o.attrs.map(read).join(", ")},);
                Attrs::${pascal(o.name)}(${pascal(o.name)}Attrs { ${o.attrs.map((a) => `${a.name}: ${a.name}?`).join(", ")} })
            }`
        : `Attrs::${pascal(o.name)},`
    }\n`,
)}        })
    }

    /** The integer attributes, which shapes may name. */
    pub(crate) fn dims(&self) -> Vec<(&'static str, u64)> {
        match self {
${perOp((o) => {
  const ints = o.attrs.filter((a) => a.type === "u32")
  return ints.length
    ? `            Attrs::${pascal(o.name)}(a) => vec![${ints.map((a) => `("${a.name}", u64::from(a.${a.name}))`).join(", ")}],\n`
    : ""
})}            _ => Vec::new(),
        }
    }

    /** The dtype that the attribute \`name\` stands for. */
    pub(crate) fn dtype(&self, name: &str) -> Option<DType> {
        match (self, name) {
${typed.map(([o, a]) => `            (Attrs::${pascal(o.name)}(a), "${a}") => DType::from_name(a.${a}.name()),\n`).join("")}            _ => None,
        }
    }
}
${perOp(signature)}`
}
