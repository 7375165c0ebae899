/** The repository as the house tests see it: tracked kinds of files, by path from the root. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

export const root: string = fileURLToPath(new URL("../..", import.meta.url))

const built = /(^|\/)(node_modules|target|dist|pkg|\.[a-z]+)\//

/** Files below `folder` whose names end with one of `endings`, sorted. */
export function files(folder: string, ...endings: string[]): string[] {
  if (!existsSync(join(root, folder))) return []
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .map((path) => `${folder}/${path.replaceAll("\\", "/")}`)
    .filter((path) => !built.test(path) && endings.some((ending) => path.endsWith(ending)))
    .sort()
}

export function folders(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort()
}

export function read(path: string): string {
  return readFileSync(join(root, path), "utf8")
}

export function json<T>(path: string): T {
  return JSON.parse(read(path)) as T
}

/** Every source file that people write. */
export function sources(): string[] {
  return ["ts", "crates", "bindings", "benches", "scripts", "test", "examples"]
    .flatMap((folder) => files(folder, ".ts", ".js", ".mjs", ".rs", ".cu", ".cuh", ".h", ".cpp"))
    .filter((path) => !path.includes(".gen."))
}

/** A source file without its tests: a Rust file ends where its test module begins. */
export function withoutTests(path: string): string {
  if (/(^|\/)tests?(\/|\.rs$)/.test(path)) return ""
  const text = read(path)
  const tests = path.endsWith(".rs") ? text.search(/^#\[cfg\(test\)\]\s*\n(#\[.*\]\s*\n)*mod \w+ \{/m) : -1
  return tests < 0 ? text : text.slice(0, tests)
}

/** Lines that hold code. Comments and blank lines are free: budgets must not make anyone explain less. */
export function codeLines(path: string): number {
  const code = withoutTests(path).replace(/\/\*[\s\S]*?\*\//g, "")
  return code.split("\n").filter((line) => !/^\s*(\/\/.*)?$/.test(line)).length
}
