/** What the scripts share: the repository's root, running commands, and bringing tools that a machine lacks. */
import { type SpawnSyncOptions, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs"
import { delimiter, join } from "node:path"
import { fileURLToPath } from "node:url"

export const root: string = fileURLToPath(new URL("..", import.meta.url))
/** Scratch space of the scripts; ignored by git. */
export const work: string = join(root, ".work")
export const targetDir: string = process.env.CARGO_TARGET_DIR ?? join(root, "target")

/** Where changes are judged, the lock file is the truth; on a desk cargo may bring it up to date. */
export const locked: readonly string[] = process.env.CI ? ["--locked"] : []

/** A failure whose message is all that a user needs to see. */
export class Refusal extends Error {}

/** Runs a script's body; a Refusal prints its sentence and ends with 1. */
export async function script(body: () => Promise<void> | void): Promise<void> {
  mkdirSync(work, { recursive: true })
  try {
    await body()
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exitCode = 1
  }
}

/** Runs a command from the root with the terminal's streams (stdout joins stderr, so that a script's own stdout stays clean). */
export function run(command: string, args: readonly string[], options: SpawnSyncOptions = {}): void {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ["ignore", 2, 2], ...options })
  if (error) throw new Refusal(`${command} did not start: ${error.message}.`)
  if (status !== 0) throw new Refusal(`${command} ${args.join(" ")} failed with status ${status}.`)
}

/** Whether `command` starts and ends well. */
export function works(command: string, args: readonly string[] = ["--version"]): boolean {
  return spawnSync(command, args, { stdio: "ignore" }).status === 0
}

/** Runs a TypeScript file of this repository, which Node 20 cannot do alone. */
export function tsx(file: string, args: readonly string[] = []): void {
  run(process.execPath, ["--import", "tsx", file, ...args])
}

export function bin(name: string): string {
  return join(root, "node_modules", ".bin", name)
}

/** Newest modification below a path, in milliseconds; 0 when there is none. */
export function newest(path: string): number {
  if (!existsSync(path)) return 0
  const stat = statSync(path)
  if (!stat.isDirectory()) return stat.mtimeMs
  return Math.max(stat.mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))))
}

/**
 * Brings Debian packages: by apt when root, saying so; otherwise returns the sentence that tells the reader what to type. Returns null once
 * they are there.
 */
export function aptInstall(packages: readonly string[], why: string): string | null {
  // A removed package may still be listed, with its settings.
  const isThere = (name: string): boolean => `${spawnSync("dpkg", ["-s", name]).stdout}`.includes("Status: install ok installed")
  const missing = packages.filter((name) => !isThere(name))
  if (missing.length === 0) return null
  const command = `apt-get update && apt-get install -y --no-install-recommends ${missing.join(" ")}`
  if (!existsSync("/etc/debian_version") || process.getuid?.() !== 0) return `${why}; on Debian or Ubuntu run: sudo sh -c '${command}'`
  process.stderr.write(`Installing ${missing.join(", ")} by apt: ${why}.\n`)
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
  return spawnSync("sh", ["-c", command], { stdio: ["ignore", 2, 2], env }).status === 0 ? null : `${why}; this failed: ${command}`
}

/** Null when Rust can compile and link here, else one sentence how to get there. */
export function rustMissing(): string | null {
  if (!works("cargo")) return "Rust is missing: install it from https://rustup.rs (version 1.95 or newer), then run this again."
  if (works("cc")) return null
  const why = "Rust needs a C linker"
  return (
    aptInstall(["gcc", "libc6-dev"], why) ?? (works("cc") ? null : `${why}; gcc is installed, but cc does not start: is it on the PATH?`)
  )
}

/** Where Chromium (or Chrome) is: `STATESPACE_CHROMIUM`, else the first known name on the PATH; null when there is none. */
export function chromiumPath(): string | null {
  if (process.env.STATESPACE_CHROMIUM) return process.env.STATESPACE_CHROMIUM
  const folders = (process.env.PATH ?? "").split(delimiter)
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path)) ?? null
}

/** Null when a browser can be driven here, else one sentence how to get there. */
export function chromiumMissing(): string | null {
  if (chromiumPath() !== null) return null
  const sentence = aptInstall(["chromium"], "The tests in a page need Chromium")
  if (sentence !== null) return sentence
  return chromiumPath() === null ? "The tests in a page need Chromium: install it, or set STATESPACE_CHROMIUM to its path" : null
}

/** The name of this machine's platform package, without the scope. */
export function platformName(): string {
  if (process.platform !== "linux") return `${process.platform}-${process.arch}`
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } }
  return `linux-${process.arch}-${header.glibcVersionRuntime ? "gnu" : "musl"}`
}
