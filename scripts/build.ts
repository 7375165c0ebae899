/** `npm run build`: brings up to date what is not: declarations from `spec/`, the native module, `wasm/` where its tools are, `dist/`. */
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs"
import { join } from "node:path"
import { buildWasm, shipped } from "./build-wasm.ts"
import { bin, locked, newest, platformName, Refusal, root, run, rustMissing, script, targetDir, tsx, work } from "./setup.ts"

const library = { linux: "libstatespace_node.so", darwin: "libstatespace_node.dylib", win32: "statespace_node.dll" }

/** Where the native module of this machine is looked for. */
export const nativeFile: string = join(root, "npm", platformName(), "statespace.node")
/** The development build, which takes seconds where a release takes minutes. */
export const devFile: string = join(work, "dev", "statespace.node")

/** A running process may have the old file mapped, so the new one takes its name instead of its bytes. */
function place(from: string, to: string): void {
  if (newest(to) >= newest(from)) return
  mkdirSync(join(to, ".."), { recursive: true })
  copyFileSync(from, `${to}.part`)
  renameSync(`${to}.part`, to)
}

/** Compiles the native module in a cargo profile and puts it at `to`. */
export function buildNative(profile: "dev" | "release" | "dist", to: string): void {
  const missing = rustMissing()
  if (missing) throw new Refusal(missing)
  run("cargo", ["build", ...locked, "--quiet", "-p", "statespace-node", "--profile", profile])
  const file = library[process.platform as keyof typeof library]
  if (!file) throw new Refusal(`No native module is built for ${process.platform}.`)
  place(join(targetDir, profile === "dev" ? "debug" : profile, file), to)
}

/** Whether what compiles WebAssembly is here already. */
function wasmTools(): boolean {
  return ["wasm-pack", "wasm-bindgen"].every((tool) => existsSync(join(root, ".toolchain", "bin", tool)))
}

export function buildDeclarations(): void {
  tsx("scripts/gen-ops.ts")
  tsx("scripts/gen-errors.ts")
}

const inputs = ["ts", "tsconfig.json", "package-lock.json", "scripts/bundle.ts", "wasm/engine.js", "wasm/engine-threads.js"]

/** `dist/` is emitted anew as a whole, beside the old one, so that nothing deleted survives and nobody finds half of it. */
export function buildTypeScript(): void {
  const dist = join(root, "dist")
  const sources = Math.max(...inputs.map((path) => newest(join(root, path))))
  if (existsSync(dist) && statSync(dist).mtimeMs > sources) return
  const fresh = join(work, "dist")
  rmSync(fresh, { recursive: true, force: true })
  run(bin("tsc"), ["-p", "tsconfig.json", "--outDir", fresh])
  tsx("scripts/bundle.ts", [fresh])
  rmSync(dist, { recursive: true, force: true })
  renameSync(fresh, dist)
}

export function build(): void {
  buildDeclarations()
  buildNative("release", nativeFile)
  // Its tools take minutes to compile, which is for `npm run build:wasm` and `npm test` to do.
  if (wasmTools()) buildWasm(shipped)
  buildTypeScript()
}

if (process.argv[1] === import.meta.filename) await script(build)
