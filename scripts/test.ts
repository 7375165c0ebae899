/**
 * `npm test`: every level from cheap to dear, ending with the line `N passed, N failed, N skipped`. `npm test -- NAME` runs the test files
 * and tests of that name, and the Rust tests of that op or crate, against a development build. A level whose needs are missing is skipped
 * with its reason; `STATESPACE_REQUIRE=rust,cuda,native,wasm,chromium,packaging` makes that a failure.
 */
import { type SpawnSyncOptions, spawn, spawnSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { build, buildDeclarations, buildNative, buildTypeScript, devFile, nativeFile } from "./build.ts"
import { buildWasm, wasmMissing } from "./build-wasm.ts"
import { cudaMissing } from "./cuda.ts"
import { bin, chromiumMissing, locked, Refusal, root, rustMissing, script, work } from "./setup.ts"
import type { Tally } from "./test-reporter.ts"

const total: Tally = { passed: 0, failed: 0, failures: [], skipped: [], retried: [] }
const required = new Set((process.env.STATESPACE_REQUIRE ?? "").split(",").filter(Boolean))

/** A browser is a large program that is not ours. What passes only at the second try is named at the end. */
const browserRetry = ["--retry=1"]

function title(level: string): void {
  process.stdout.write(`\n== ${level}\n`)
}

function fail(name: string, reason: string, count: number = 1): void {
  total.failed += count
  total.failures.push({ name, reason })
}

function skip(level: string, reason: string): void {
  title(level)
  if (required.has(level)) {
    process.stdout.write(`Required by STATESPACE_REQUIRE, but: ${reason}\n`)
    fail(level, reason)
  } else total.skipped.push({ name: level, reason })
}

/** A step that a level stands on; its failure is one failure, told in its own words. */
function attempt(body: () => void): boolean {
  try {
    body()
    return true
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    process.stdout.write(`${error.message}\n`)
    fail("a step before the tests", error.message)
    return false
  }
}

function vitest(level: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): void {
  title(level)
  const file = join(work, "tally.json")
  rmSync(file, { force: true })
  const reporters = ["--reporter=default", `--reporter=${join(root, "scripts", "test-reporter.ts")}`]
  const options: SpawnSyncOptions = {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...env, STATESPACE_TALLY: file },
  }
  const { status } = spawnSync(bin("vitest"), ["run", "--passWithNoTests", ...reporters, ...args], options)
  const tally: Tally | null = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : null
  total.passed += tally?.passed ?? 0
  total.failed += tally?.failed ?? 0
  total.failures.push(...(tally?.failures ?? []))
  total.skipped.push(...(tally?.skipped ?? []))
  total.retried.push(...(tally?.retried ?? []))
  if (status !== 0 && !tally?.failed) fail(level, `vitest ended with ${status ?? "a signal"}`)
}

/** Documentation examples count as tests, which is why this is `cargo test` on every machine. */
async function rust(args: readonly string[]): Promise<void> {
  title("rust")
  const child = spawn("cargo", ["test", ...locked, "--no-fail-fast", ...args], { cwd: root, stdio: ["ignore", "pipe", "inherit"] })
  let output = ""
  child.stdout.on("data", (piece: Buffer) => {
    output += piece
    process.stdout.write(piece)
  })
  const status = await new Promise<number | null>((resolve) => child.on("close", resolve))
  let failed = 0
  for (const [, passed, broken, ignored] of output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/gm)) {
    total.passed += Number(passed)
    failed += Number(broken)
    for (let i = 0; i < Number(ignored); i++) total.skipped.push({ name: "rust", reason: "a test that its author switched off" })
  }
  if (status !== 0) fail("rust", "said above, under == rust", Math.max(1, failed))
}

/** The reason, with what it was said of: one name, or how many. */
function byReason(skipped: Tally["skipped"]): string[] {
  const names = new Map<string, string[]>()
  for (const { name, reason } of skipped) names.set(reason, [...(names.get(reason) ?? []), name])
  return [...names].map(([reason, [first = "", ...more]]) => `${reason}: ${first}${more.length > 0 ? ` and ${more.length} more` : ""}`)
}

/** Null when there is a fresh native module to test, else why not. */
function nativeBuilt(): string | null {
  const missing = rustMissing()
  title("build")
  const built = attempt(missing && existsSync(nativeFile) ? buildTypeScript : missing ? () => {} : build)
  return built && existsSync(nativeFile) ? null : (missing ?? "the native module could not be built")
}

/** Null when there is fresh WebAssembly to test, else why not. */
function wasmBuilt(): string | null {
  title("build wasm")
  const missing = wasmMissing()
  if (missing) return missing
  const built = attempt(() => {
    buildWasm()
    buildTypeScript()
  })
  return built ? null : "WebAssembly could not be built"
}

async function everything(): Promise<void> {
  vitest("house", ["test/house"])
  const missing = rustMissing()
  // What it brings, the builds use: kernels are compiled with the crates, and tested with them on an emulator.
  const cuda = missing ?? cudaMissing()
  if (cuda) skip("cuda", cuda)
  const native = nativeBuilt()
  if (missing) skip("rust", missing)
  else await rust(["--workspace"])
  vitest("unit", ["test/unit"])
  if (native) skip("native", native)
  else vitest("native", ["test/model"])

  const wasm = wasmBuilt()
  if (wasm) skip("wasm", wasm)
  else {
    vitest("wasm", ["test/model", "test/wasm", "test/unit/seam"], { STATESPACE_TEST_BACKEND: "wasm" })
    // What one thread, and calls without a Worker, may do otherwise.
    const differing = ["test/unit/seam", ...["abort", "golden", "snapshot", "exact"].map((name) => `test/model/${name}`)]
    for (const way of ["wasm-single", "wasm-direct"]) vitest(way, differing, { STATESPACE_TEST_BACKEND: way })
  }
  const page = wasm ?? chromiumMissing()
  if (page) skip("chromium", page)
  else vitest("chromium", ["test/browser", ...browserRetry])

  if (native) skip("packaging", native)
  else vitest("packaging", ["test/packaging/package.test.ts"])
  const pages = native ?? page
  if (pages) skip("packaging", `of pages: ${pages}`)
  else vitest("packaging of pages", ["test/packaging/pages.test.ts", ...browserRetry])
}

async function named(name: string): Promise<void> {
  if (!attempt(buildDeclarations) || !attempt(() => buildNative("dev", devFile))) return
  const env = { STATESPACE_NATIVE: devFile }
  const files = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".test.ts") && file.includes(name),
  )
  const wasm = files.some((file) => /^(browser|wasm)\b|pages/.test(file)) ? wasmBuilt() : null
  if (wasm) skip("wasm", wasm)
  else if (files.length > 0) vitest(files.join(" "), files, env)
  // An op's tests are the suites of its crate, which take seconds for all ops.
  const crate = existsSync(join(root, "crates", "ops", "src", name)) ? "ops" : existsSync(join(root, "crates", name)) ? name : null
  if (crate) await rust(["-p", `statespace-${crate}`])
  else if (files.length === 0) {
    vitest(`tests named ${name}`, ["-t", name], env)
    await rust(["--workspace", name])
  }
}

await script(async () => {
  const names = process.argv.slice(2)
  if (names.length === 0) await everything()
  for (const name of names) await named(name)
  if (total.passed + total.failed === 0) throw new Refusal(`No test is called ${names.join(" or ")}.`)
  if (total.skipped.length > 0) process.stdout.write("\nSkipped:\n")
  for (const line of byReason(total.skipped)) process.stdout.write(`  ${line}\n`)
  if (total.retried.length > 0) process.stdout.write(`\nPassed at the second try:\n  ${total.retried.join("\n  ")}\n`)
  if (total.failures.length > 0) process.stdout.write("\nFailed:\n")
  for (const { name, reason } of total.failures) process.stdout.write(`  ${name}: ${reason}\n`)
  process.stdout.write(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped.length} skipped\n`)
  if (total.failed > 0) process.exitCode = 1
})
