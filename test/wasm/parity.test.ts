/** Instruction sets and ops inside each WebAssembly module that this engine takes: what `cargo test` runs natively. */
import { describe, expect, test } from "vitest"
import { relaxedSimd } from "../../ts/backend/wasm/module.ts"
import { readBytes, readText } from "../support/files.ts"

interface Shell {
  /** JSON: string[]. */
  parityCases(): string
  /** JSON: { name, passed, detail }. */
  parityRun(index: number): string
}
interface Glue {
  instantiate(options: { module: Uint8Array }): Shell
}

/** The glue is a module of its own that imports nothing, so that Node and a page take it in the same way. */
async function open(module: string): Promise<Shell | undefined> {
  let glue: string
  try {
    glue = readText("wasm/test.js")
  } catch {
    return
  }
  const { instantiate }: Glue = await import(/* @vite-ignore */ `data:text/javascript,${encodeURIComponent(glue)}`)
  return instantiate({ module: readBytes(`wasm/${module}.wasm`) })
}

const modules = ["test", ...(relaxedSimd() ? ["test-relaxed"] : [])]
const shells = await Promise.all(modules.map(open))
describe.each(modules.map((name, at) => [name, shells[at]] as const))("%s.wasm", (module, shell) => {
  if (!shell) return test("instruction sets and ops", (context) => context.skip(`wasm/${module}.wasm is not built`))
  const names: string[] = JSON.parse(shell.parityCases())
  test("there are checks", () => expect(names.length).toBeGreaterThan(100))
  for (const [index, name] of names.entries()) {
    test(name, () => expect(JSON.parse(shell.parityRun(index))).toEqual({ name, passed: true, detail: "" }))
  }
})
