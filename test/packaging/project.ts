/** What users have: the packed packages in a project of their own, outside this repository, without Rust, without scripts. */
import { type SpawnSyncReturns, spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { expect } from "vitest"

export const root: string = fileURLToPath(new URL("../..", import.meta.url))
export const bin = (name: string): string => join(root, "node_modules", ".bin", name)

export interface Tarballs {
  main: string
  platform: string
}

/** Packs both packages into a folder of its own, since test files run side by side. */
export function pack(): Tarballs {
  const folder = mkdtempSync(join(tmpdir(), "statespace-packed-"))
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", "tsx", "scripts/pack.ts", folder], {
    cwd: root,
    encoding: "utf8",
  })
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout)
}

/** A user's environment: Node, and neither Rust nor anything that points into this repository. */
export function userEnv(): NodeJS.ProcessEnv {
  const path = [
    dirname(process.execPath),
    ...(process.env.PATH ?? "").split(delimiter).filter((folder) => !existsSync(join(folder, "cargo")) && !folder.includes("node_modules")),
  ]
  const kept = Object.entries(process.env).filter(([name]) => !/^(STATESPACE_|npm_|NODE_|VITEST|CI$)/.test(name))
  return { ...Object.fromEntries(kept), PATH: path.join(delimiter), NEXT_TELEMETRY_DISABLED: "1" }
}

export function user(command: string, args: string[], cwd: string): SpawnSyncReturns<string> {
  return spawnSync(command, args, { cwd, encoding: "utf8", input: "", env: userEnv() })
}

export function succeed(command: string, args: string[], cwd: string): string {
  const { status, stdout, stderr } = user(command, args, cwd)
  expect(status, `${command} ${args.join(" ")}\n${stdout}${stderr}`).toBe(0)
  return stdout
}

const quick = ["--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"]

/** A copy of `test/packaging/<how>` with what its lock file says and the packed packages; returns its folder. */
export function install(how: string, { main, platform }: Tarballs): string {
  const folder = mkdtempSync(join(tmpdir(), `statespace-${how}-`))
  cpSync(join(root, "test", "packaging", how), folder, { recursive: true })
  succeed("npm", ["ci", ...quick], folder)
  succeed("npm", ["install", "--no-save", ...quick, main, platform], folder)
  return folder
}
