/** What compiles Rust to WebAssembly: rustup's target where it is installed, else Debian's compiler, and two tools of `.toolchain/`. */
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync } from "node:fs"
import { delimiter, join } from "node:path"
import { aptInstall, root, run, rustMissing, works } from "../setup.ts"

const triple = "wasm32-unknown-unknown"
const folder = join(root, ".toolchain")
/** The command line tool must be of the version of the crate that `bindings/wasm` pins. */
const tools = [
  { command: "wasm-bindgen", crate: "wasm-bindgen-cli", version: "0.2.130", args: [] },
  { command: "wasm-pack", crate: "wasm-pack", version: "0.15.1", args: ["--locked"] },
] as const
const debian = { rustc: "/usr/bin/rustc", linker: "wasm-ld-22", packages: ["rustc-web", "cargo-web", "rust-web-src", "lld-22"] }

export interface Toolchain {
  env: NodeJS.ProcessEnv
  /** Flags for rustc that the compiler asks for. */
  flags: readonly string[]
  /** Whether the standard library has to be compiled for every flavor; for shared memory it always has. */
  buildStd: boolean
}

function printed(rustc: string, what: string): string {
  return spawnSync(rustc, ["--print", what, "--target", triple], { encoding: "utf8" }).stdout?.trim() ?? ""
}

/** Whether the target's standard library is there compiled, and as source, from which the one for shared memory is made. */
function hasTarget(rustc: string): boolean {
  const libraries = printed(rustc, "target-libdir")
  const compiled = existsSync(libraries) && readdirSync(libraries).some((name) => name.startsWith("libstd-"))
  return compiled && existsSync(join(printed(rustc, "sysroot"), "lib", "rustlib", "src", "rust", "library"))
}

/** Debian's packages, and the folder by whose existence alone wasm-pack judges whether the target is installed. */
function bringDebian(): string | null {
  if (!existsSync("/etc/debian_version") || process.getuid?.() !== 0)
    return `WebAssembly needs a target of Rust: run rustup target add ${triple} && rustup component add rust-src, then this again.`
  const missing = aptInstall(debian.packages, "WebAssembly needs a compiler with its target")
  if (missing) return missing
  mkdirSync(printed(debian.rustc, "target-libdir"), { recursive: true })
  return null
}

function bringTool({ command, crate, version, args }: (typeof tools)[number]): string | null {
  const file = join(folder, "bin", command)
  const { stdout } = spawnSync(file, ["--version"], { encoding: "utf8" })
  if (stdout?.trim().endsWith(version)) return null
  const install = ["install", crate, "--version", version, "--root", folder, ...args]
  process.stderr.write(`Compiling ${command} ${version} into .toolchain; this takes two minutes.\n`)
  run("cargo", [...install, "--quiet"])
  return works(file) ? null : `WebAssembly needs ${command}; this brought none: cargo ${install.join(" ")}`
}

/** Null when WebAssembly can be built here (after installing what is missing, saying so), else the sentence that tells what to type. */
export function wasmMissing(): string | null {
  const missing = rustMissing() ?? (hasTarget("rustc") ? null : bringDebian())
  if (missing) return missing
  for (const tool of tools) {
    const refused = bringTool(tool)
    if (refused) return refused
  }
  return null
}

/** The environment in which wasm-pack finds compiler and tools; call it when {@link wasmMissing} found nothing. */
export function toolchain(): Toolchain {
  const installed = hasTarget("rustc")
  const path = [join(folder, "bin"), ...(installed ? [process.env.PATH] : ["/usr/bin", "/bin"])].join(delimiter)
  // Debian's compiler stands beside rustup's, whose shims come first on the path. Building the standard library is not a stable feature.
  const env = { ...process.env, PATH: path, RUSTC_BOOTSTRAP: "1", ...(installed ? {} : { RUSTC: debian.rustc }) }
  return { env, flags: installed ? [] : ["-C", `linker=${debian.linker}`], buildStd: !installed }
}
