/** `npm run demo`: builds what is missing, then lets the embedded model continue a prompt. Arguments go to the CLI. */
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { build, nativeFile } from "./build.ts"
import { root, script } from "./setup.ts"

await script(() => {
  const cli = join(root, "dist", "cli", "main.js")
  if (!existsSync(cli) || !existsSync(nativeFile)) {
    process.stderr.write("Building once; this takes a minute or three.\n")
    build()
  }
  const args = process.argv.slice(2)
  const { status } = spawnSync(process.execPath, [cli, ...(args.length > 0 ? args : ["generate", "The compiler will"])], {
    stdio: "inherit",
  })
  process.exitCode = status ?? 1
})
