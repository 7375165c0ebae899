/** Instruction sets and ops inside the WebAssembly module: what `cargo test` runs natively. */
import { expect, test } from "vitest"
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
async function open(): Promise<Shell | undefined> {
  let glue: string
  try {
    glue = readText("wasm/test.js")
  } catch {
    return
  }
  const { instantiate }: Glue = await import(/* @vite-ignore */ `data:text/javascript,${encodeURIComponent(glue)}`)
  return instantiate({ module: readBytes("wasm/test.wasm") })
}

const shell = await open()
if (!shell) test("instruction sets and ops", (context) => context.skip("wasm/test.wasm is not built"))
else {
  const names: string[] = JSON.parse(shell.parityCases())
  test("there are checks", () => expect(names.length).toBeGreaterThan(100))
  for (const [index, name] of names.entries()) {
    test(name, () => expect(JSON.parse(shell.parityRun(index))).toEqual({ name, passed: true, detail: "" }))
  }
}
