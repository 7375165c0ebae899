// Before anything that needs TypeScript: `npm test` alone on a fresh clone must work, so this one is plain JavaScript.
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"

if (!existsSync(new URL("../node_modules/tsx", import.meta.url))) {
  process.stderr.write("Installing the development packages by npm ci.\n")
  const { status } = spawnSync("npm", ["ci"], {
    cwd: new URL("..", import.meta.url),
    stdio: ["ignore", 2, 2],
    shell: process.platform === "win32",
  })
  process.exitCode = status ?? 1
}
