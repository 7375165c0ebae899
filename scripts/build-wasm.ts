/**
 * `npm run build:wasm [FLAVOR...]`: brings up to date what is not of `wasm/`. `engine` is what every page can run, `engine-threads` is for
 * pages that may share memory, `test` has the reference executor and the op cases besides and is never shipped.
 */
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { buildSync } from "esbuild"
import { bin, locked, newest, Refusal, root, run, script, targetDir, work } from "./setup.ts"
import { toolchain, wasmMissing } from "./wasm/toolchain.ts"

export { wasmMissing }

export const flavors = ["engine", "engine-threads", "test"] as const
export type Flavor = (typeof flavors)[number]

/** Where the artefacts lie: `NAME.js` and `NAME.wasm` of each flavor. */
export const wasmFolder: string = join(root, "wasm")

const sources = ["crates", "bindings/wasm", "spec", "Cargo.toml", "Cargo.lock", "scripts/build-wasm.ts", "scripts/wasm"]

/** Memory that every thread sees comes from outside the module, has a limit, and gives each thread a place of its own. */
const threads: readonly string[] = [
  "-C target-feature=+atomics,+bulk-memory,+mutable-globals",
  ...["--shared-memory", "--import-memory", "--max-memory=4294967296"].map((flag) => `-C link-arg=${flag}`),
  ...["__wasm_init_tls", "__tls_size", "__tls_align", "__tls_base"].map((name) => `-C link-arg=--export=${name}`),
]

/** Compiles flavors whose sources are newer; throws a Refusal where this machine cannot. */
export function buildWasm(wanted: readonly Flavor[] = flavors): void {
  const changed = Math.max(...sources.map((path) => newest(join(root, path))))
  const stale = wanted.filter((flavor) => newest(join(wasmFolder, `${flavor}.wasm`)) <= changed)
  if (stale.length === 0) return
  const missing = wasmMissing()
  if (missing) throw new Refusal(missing)
  for (const flavor of stale) compile(flavor)
}

function compile(flavor: Flavor): void {
  const shared = flavor === "engine-threads"
  const { env, flags, buildStd } = toolchain()
  const out = join(work, "wasm", flavor)
  rmSync(out, { recursive: true, force: true })
  const args = ["build", "--mode", "no-install", "--no-opt", "--no-pack", "--no-typescript", "--target", "web", "--profile", "wasm"]
  const cargo = [...locked, ...(flavor === "test" ? ["--features", "testing"] : [])]
  run("wasm-pack", [...args, "--out-dir", out, "--out-name", flavor, join(root, "bindings", "wasm"), ...cargo], {
    env: {
      ...env,
      // One folder for each set of flags, so that one does not throw away what another compiled.
      CARGO_TARGET_DIR: join(targetDir, shared ? "wasm-threads" : "wasm"),
      RUSTFLAGS: ["-C target-feature=+simd128", ...(shared ? threads : []), ...flags].join(" "),
      ...(buildStd || shared ? { CARGO_UNSTABLE_BUILD_STD: "std,panic_abort" } : {}),
    },
  })
  optimize(out, flavor)
}

/**
 * wasm-bindgen's glue is one instance, in variables of its module, and names the file beside it, which bundlers would take along. As a
 * function it makes an instance of a module at each call, `instantiate({ module, memory? })`, and names nothing.
 */
function asFunction(glue: string): string {
  const { outputFiles } = buildSync({
    // The star leaves out the default export, which is what fetches the file.
    stdin: { contents: `export * from ${JSON.stringify(glue)}`, resolveDir: root },
    bundle: true,
    format: "cjs",
    minify: true,
    keepNames: true,
    write: false,
    logLevel: "error",
  })
  const body = outputFiles[0]?.text.trim()
  return `export function instantiate(options) {
const module = { exports: {} }
${body}
const { initSync, ...shell } = module.exports
return { ...shell, memory: initSync(options).memory }
}
`
}

/** The module comes last, as its time says whether all is fresh. */
function optimize(out: string, flavor: Flavor): void {
  const [module, glue] = [join(out, `${flavor}.wasm`), join(out, `${flavor}.js`)]
  // Names of functions are worth their bytes in tests alone.
  const strip = flavor === "test" ? [] : ["--strip-debug", "--strip-producers"]
  // -O3 takes half as long again for the same size.
  // A loop stands in a short function so that an engine gives the registers to it; where only one place calls it, it would be put there.
  run(bin("wasm-opt"), ["-O2", "--one-caller-inline-max-function-size=100", ...strip, join(out, `${flavor}_bg.wasm`), "-o", module])
  writeFileSync(glue, asFunction(glue))
  mkdirSync(wasmFolder, { recursive: true })
  for (const file of [glue, module]) renameSync(file, join(wasmFolder, file.slice(out.length + 1)))
}

if (process.argv[1] === import.meta.filename)
  await script(() => {
    const names = process.argv.slice(2)
    const unknown = names.find((name) => !(flavors as readonly string[]).includes(name))
    if (unknown) throw new Refusal(`There is no flavor ${unknown}: ${flavors.join(", ")}.`)
    buildWasm(names.length > 0 ? (names as Flavor[]) : flavors)
  })
