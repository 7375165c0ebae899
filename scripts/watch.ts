/**
 * `npm run watch`: on every change, until interrupted, brings declarations, the native module's development build and `dist/` up to date.
 * `npm run watch -- NAME` runs the tests of that name instead, as `npm test -- NAME` does, which builds what they need.
 */
import { watch } from "node:fs"
import { join } from "node:path"
import { buildDeclarations, buildNative, buildTypeScript, devFile } from "./build.ts"
import { Refusal, root, tsx } from "./setup.ts"

const names = process.argv.slice(2)
let timer: NodeJS.Timeout | undefined

function build(): void {
  buildDeclarations()
  buildNative("dev", devFile)
  buildTypeScript()
}

function rebuild(): void {
  const start = performance.now()
  try {
    if (names.length > 0) tsx("scripts/test.ts", names)
    else build()
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    process.stderr.write(`${error.message}\n`)
  }
  process.stderr.write(`${((performance.now() - start) / 1000).toFixed(1)} s; watching.\n`)
}

rebuild()
for (const folder of ["spec", "crates", "bindings", "ts", ...(names.length > 0 ? ["test"] : [])]) {
  watch(join(root, folder), { recursive: true }, (_event, file) => {
    // The build writes the generated files itself.
    if (file?.includes(".gen.")) return
    clearTimeout(timer)
    timer = setTimeout(rebuild, 100)
  })
}
