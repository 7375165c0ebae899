/**
 * Writes the declarations of both languages from `spec/ops.json`: `ts/ops/ops.gen.ts` and `crates/plan/src/ops.gen.rs`.
 * `--check` writes nothing and exits 1 when either is stale.
 */
import { createHash } from "node:crypto"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { rust } from "./gen-ops/rust.ts"
import { type Op, verify } from "./gen-ops/table.ts"
import { typescript } from "./gen-ops/typescript.ts"

const root = new URL("../", import.meta.url)
const table = JSON.parse(readFileSync(new URL("spec/ops.json", root), "utf8")) as { ops: Op[] }
table.ops.forEach(verify)

/** Sorted keys, no spaces: what the hash is over. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`
  if (value === null || typeof value !== "object") return JSON.stringify(value)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${canonical(v)}`).join(",")}}`
}
const reduced = table.ops.map(({ name, inputs, outputs, attrs, inplace, updates }) => ({ name, inputs, outputs, attrs, inplace, updates }))
const opset = createHash("sha256").update(canonical(reduced)).digest("hex").slice(0, 16)

const stale: string[] = []
for (const [path, text] of [
  ["ts/ops/ops.gen.ts", typescript(table.ops, opset)],
  ["crates/plan/src/ops.gen.rs", rust(table.ops, opset)],
] as const) {
  const url = new URL(path, root)
  const old = existsSync(url) ? readFileSync(url, "utf8") : ""
  if (old === text) continue
  if (!process.argv.includes("--check")) writeFileSync(url, text)
  else {
    const [was, is] = [old.split("\n"), text.split("\n")]
    const line = is.findIndex((l, i) => l !== was[i])
    stale.push(
      `${path} is stale: line ${line + 1} is ${JSON.stringify(was[line])}, should be ${JSON.stringify(is[line])}. Run: npx tsx scripts/gen-ops.ts`,
    )
  }
}
if (stale.length) {
  console.error(stale.join("\n"))
  process.exit(1)
}
