/**
 * `npm run build:wasm [FLAVOR...]`: brings up to date what is not of `wasm/`. `engine` is what every page can run, `threads` is for pages that
 * may share memory, `relaxed` for engines whose vectors multiply and add in one instruction. `test` has the reference executor and the op cases
 * besides and is never shipped.
 */
import { spawn } from "node:child_process"
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { buildSync } from "esbuild"
import { bin, locked, newest, Refusal, root, script, targetDir, tsx, work } from "./setup.ts"
import { toolchain, wasmMissing } from "./wasm/toolchain.ts"

export { wasmMissing }

interface Build {
  /** Its module's glue, which does not depend on relaxed instructions. */
  glue: string
  shared?: boolean
  relaxed?: boolean
}

/** In the order of compiling: what comes after a build of the same folder takes its standard library over. */
const builds = {
  engine: { glue: "engine" },
  "engine-relaxed": { glue: "engine", relaxed: true },
  test: { glue: "test" },
  "test-relaxed": { glue: "test", relaxed: true },
  "engine-threads": { glue: "engine-threads", shared: true },
  "engine-relaxed-threads": { glue: "engine-threads", shared: true, relaxed: true },
} as const satisfies Record<string, Build>
export type Flavor = keyof typeof builds
export const flavors = Object.keys(builds) as Flavor[]
/** What the package holds. */
export const shipped: readonly Flavor[] = flavors.filter((flavor) => !flavor.startsWith("test"))

/** Where the artefacts lie: a `.wasm` of each flavor, and a `.js` of each glue. */
export const wasmFolder: string = join(root, "wasm")

const sources = ["crates", "bindings/wasm", "spec", "Cargo.toml", "Cargo.lock", "scripts/build-wasm.ts", "scripts/wasm"]

/**
 * Memory that every thread sees comes from outside the module, has a limit, and gives each thread a place of its own. The glue makes it, for
 * both of its modules, so that what they need at first must not depend on their bytes.
 */
const threads: readonly string[] = [
  "-C target-feature=+atomics,+bulk-memory,+mutable-globals",
  ...["--shared-memory", "--import-memory", "--initial-memory=2097152", "--max-memory=4294967296"].map((flag) => `-C link-arg=${flag}`),
  ...["__wasm_init_tls", "__tls_size", "__tls_align", "__tls_base"].map((name) => `-C link-arg=--export=${name}`),
]

/** Given to the crates that compute, and not to all, since those that do not need no second compilation for it. */
const relaxed: readonly string[] = [
  ...["-Z", "profile-rustflags"],
  ...["simd", "ops", "engine", "wasm"].flatMap((crate) => [
    "--config",
    `profile.wasm.package.statespace-${crate}.rustflags=["-Ctarget-feature=+relaxed-simd"]`,
  ]),
]

function stale(wanted: readonly Flavor[]): Flavor[] {
  const changed = Math.max(...sources.map((path) => newest(join(root, path))))
  return wanted.filter((flavor) => newest(join(wasmFolder, `${flavor}.wasm`)) <= changed)
}

/** Compiles flavors whose sources are newer; throws a Refusal where this machine cannot. */
export function buildWasm(wanted: readonly Flavor[] = flavors): void {
  if (stale(wanted).length === 0) return
  const missing = wasmMissing()
  if (missing) throw new Refusal(missing)
  // In a process of its own two compilers can run side by side, and the caller need not wait for promises.
  tsx("scripts/build-wasm.ts", wanted)
}

/** Those with shared memory and those without have nothing in common, and the last steps of each keep one core busy. */
async function compileAll(wanted: readonly Flavor[]): Promise<void> {
  const tools = toolchain()
  const lane = async (shared: boolean): Promise<void> => {
    const optimized: Promise<void>[] = []
    for (const flavor of wanted.filter((flavor) => "shared" in builds[flavor] === shared)) {
      await compile(flavor, tools)
      optimized.push(optimize(flavor))
    }
    await Promise.all(optimized)
  }
  const ends = await Promise.allSettled([lane(false), lane(true)])
  for (const end of ends) if (end.status === "rejected") throw end.reason
}

/** What a command says is shown when it fails: two at once would talk into each other. */
async function quietly(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<void> {
  const child = spawn(command, args, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] })
  let said = ""
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (piece: string) => (said += piece))
  const status = await new Promise<number | string | null>((resolve) => {
    child.on("error", ({ message }) => resolve(message))
    child.on("close", resolve)
  })
  if (status !== 0) throw new Refusal(`${said}${command} ${args.join(" ")} failed: ${status}.`)
}

const outOf = (flavor: Flavor): string => join(work, "wasm", flavor)

async function compile(flavor: Flavor, { env, flags, buildStd }: ReturnType<typeof toolchain>): Promise<void> {
  const { glue, shared = false, ...build }: Build = builds[flavor]
  const start = performance.now()
  const out = outOf(flavor)
  rmSync(out, { recursive: true, force: true })
  const args = ["build", "--mode", "no-install", "--no-opt", "--no-pack", "--no-typescript", "--target", "web", "--profile", "wasm"]
  const cargo = [...locked, ...(glue === "test" ? ["--features", "testing"] : []), ...(build.relaxed ? relaxed : [])]
  await quietly("wasm-pack", [...args, "--out-dir", out, "--out-name", glue, join(root, "bindings", "wasm"), ...cargo], {
    ...env,
    // One folder for each set of flags, so that one does not throw away what another compiled.
    CARGO_TARGET_DIR: join(targetDir, shared ? "wasm-threads" : "wasm"),
    RUSTFLAGS: ["-C target-feature=+simd128", ...(shared ? threads : []), ...flags].join(" "),
    ...(buildStd || shared ? { CARGO_UNSTABLE_BUILD_STD: "std,panic_abort" } : {}),
  })
  process.stderr.write(`wasm: ${flavor} compiled in ${((performance.now() - start) / 1000).toFixed(0)} s\n`)
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
async function optimize(flavor: Flavor): Promise<void> {
  const { glue, relaxed }: Build = builds[flavor]
  const out = outOf(flavor)
  const [module, script] = [join(out, `${flavor}.wasm`), join(out, `${glue}.js`)]
  // Names of functions are worth their bytes in tests alone.
  const strip = glue === "test" ? [] : ["--strip-debug", "--strip-producers"]
  // The other features it reads from the module.
  const features = relaxed ? ["--enable-relaxed-simd"] : []
  // -O3 takes half as long again for the same size.
  // A loop stands in a short function so that an engine gives the registers to it; where only one place calls it, it would be put there.
  const passes = ["-O2", "--one-caller-inline-max-function-size=100"]
  await quietly(bin("wasm-opt"), [...passes, ...features, ...strip, join(out, `${glue}_bg.wasm`), "-o", module])
  writeFileSync(script, asFunction(script))
  mkdirSync(wasmFolder, { recursive: true })
  for (const file of [script, module]) renameSync(file, join(wasmFolder, file.slice(out.length + 1)))
}

if (process.argv[1] === import.meta.filename)
  await script(async () => {
    const names = process.argv.slice(2)
    const unknown = names.find((name) => !(flavors as readonly string[]).includes(name))
    if (unknown) throw new Refusal(`There is no flavor ${unknown}: ${flavors.join(", ")}.`)
    const wanted = stale(names.length > 0 ? (names as Flavor[]) : flavors)
    const missing = wanted.length > 0 ? wasmMissing() : null
    if (missing) throw new Refusal(missing)
    await compileAll(wanted)
  })
