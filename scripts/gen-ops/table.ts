/** The rows of `spec/ops.json` and the little arithmetic that its shapes, costs and rules are written in. */
export interface Input {
  name: string
  shape: string[]
  dtypes: string[]
  optional?: boolean
  ld?: boolean
  /** The input whose dtype this one has, of those that it may have. */
  like?: string
}
export interface Output {
  name: string
  shape: string[]
  dtype: string
}
export interface Attr {
  name: string
  type: "f32" | "u32" | "bool" | "enum"
  values?: string[]
  default: number | boolean | string
}
export interface Op {
  name: string
  doc: string
  inputs: Input[]
  outputs: Output[]
  attrs: Attr[]
  inplace: [string, string][]
  updates: string[]
  requires?: string[]
  bytes: string
  flops: string
}
export type Expr = { int: number } | { name: string } | { op: string; a: Expr; b: Expr }

/** `sum := product (("+"|"-") product)*`, `product := unit (("*"|"%") unit)*`, `unit := int | name | "(" sum ")" | "ceil(" sum "/" sum ")"`. */
export function parse(text: string): Expr {
  const tokens = text.match(/\d+|[A-Za-z_]\w*|\S/g) ?? []
  let at = 0
  const fail = (): never => {
    throw new Error(`spec/ops.json: cannot read the expression "${text}" at "${tokens[at] ?? "its end"}"`)
  }
  const eat = (token: string): void => {
    if (tokens[at++] !== token) fail()
  }
  const chain = (operators: string, next: () => Expr): Expr => {
    let a = next()
    while (at < tokens.length && operators.includes(tokens[at] as string)) a = { op: tokens[at++] as string, a, b: next() }
    return a
  }
  const unit = (): Expr => {
    const token = tokens[at++] ?? fail()
    if (/^\d/.test(token)) return { int: Number(token) }
    if (token === "(") return close(sum())
    if (token !== "ceil") return /^\w/.test(token) ? { name: token } : fail()
    eat("(")
    const a = sum()
    eat("/")
    return close({ op: "ceil", a, b: sum() })
  }
  const close = (e: Expr): Expr => {
    eat(")")
    return e
  }
  const sum = (): Expr => chain("+-", () => chain("*%", unit))
  const result = sum()
  return at === tokens.length ? result : fail()
}
export const names = (e: Expr): string[] => ("op" in e ? [...names(e.a), ...names(e.b)] : "name" in e ? [e.name] : [])
export function rule(text: string): { left: Expr; cmp: string; right: Expr } {
  const [left, cmp, right] = text.split(/(>=|<=|==)/)
  if (!left || !cmp || !right) throw new Error(`spec/ops.json: cannot read the rule "${text}"`)
  return { left: parse(left), cmp, right: parse(right) }
}

/** Every name of an expression must be bound: by a bare symbol of an input's shape, a u32 attribute, or (in `bytes`) as an element size. */
export function verify(op: Op): void {
  const bound = new Set([
    ...op.inputs.filter((i) => !i.optional).flatMap((i) => i.shape),
    ...op.attrs.filter((a) => a.type === "u32").map((a) => a.name),
  ])
  const tensors = [...op.inputs, ...op.outputs].map((t) => t.name)
  const need = (texts: Expr[], known: Set<string>): void => {
    for (const name of texts.flatMap(names))
      if (!known.has(name)) throw new Error(`spec/ops.json: ${op.name} uses "${name}", which nothing binds`)
  }
  for (const name of tensors) if (bound.has(name)) throw new Error(`spec/ops.json: ${op.name} has a symbol and a tensor named "${name}"`)
  need(
    [...op.inputs, ...op.outputs].flatMap((t) => t.shape.map(parse)),
    bound,
  )
  need(
    (op.requires ?? []).flatMap((r) => [rule(r).left, rule(r).right]),
    bound,
  )
  need([parse(op.flops), parse(op.bytes)], new Set([...bound, ...tensors]))
  const likes = [...op.inputs.map((i) => i.like), ...op.outputs.map((t) => likeOf(t.dtype))]
  for (const name of likes)
    if (name !== undefined && !op.inputs.some((i) => i.name === name)) throw new Error(`spec/ops.json: ${op.name} has no input "${name}"`)
  for (const name of [...op.updates, ...op.inplace.flat()])
    if (!tensors.includes(name)) throw new Error(`spec/ops.json: ${op.name} has no "${name}"`)
}
/** The input whose dtype an output has. */
export const likeOf = (dtype: string): string | undefined => (dtype.startsWith("like:") ? dtype.slice(5) : undefined)
export const pascal = (name: string): string => name.replace(/(?:^|_)(\w)/g, (_, c: string) => c.toUpperCase())
