/** `npm run watch`: rebuilds on change, one build at a time, until interrupted. */
import { watch } from "node:fs"
import { join } from "node:path"
import { build } from "./build.ts"
import { Refusal, root } from "./setup.ts"

let timer: NodeJS.Timeout | undefined

function rebuild(): void {
  const start = performance.now()
  try {
    build()
    process.stderr.write(`Built in ${((performance.now() - start) / 1000).toFixed(1)} s; watching.\n`)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    process.stderr.write(`${error.message}\n`)
  }
}

rebuild()
for (const folder of ["spec", "crates", "bindings", "ts"]) {
  watch(join(root, folder), { recursive: true }, (_event, file) => {
    // The build writes the generated files itself.
    if (file?.includes(".gen.")) return
    clearTimeout(timer)
    timer = setTimeout(rebuild, 100)
  })
}
