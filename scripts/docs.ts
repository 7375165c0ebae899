/** `npm run docs`: the API reference into `docs/api`. A broken link or an unreadable comment fails. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { root, run, script } from "./setup.ts"

await script(() => {
  const cwd = join(root, "scripts", "docs")
  if (!existsSync(join(cwd, "node_modules", "typedoc"))) run("npm", ["ci"], { cwd })
  run(join(cwd, "node_modules", ".bin", "typedoc"), ["--options", "typedoc.json"], { cwd })
})
