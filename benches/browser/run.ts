/**
 * The 130M shape in Chromium: this package beside @wllama/wllama with each of its types. The engines take turns, a fresh page each time, and
 * medians over the rounds are compared, since these machines are shared and drift.
 *   npx tsx benches/browser/run.ts [--rounds 3] [--threads 2] [--plain] [--peers]
 * `--plain` lets the module without relaxed SIMD, which Chromium does not take by itself, have turns too.
 */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { cpus, loadavg } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { openBrowser, openPage } from "../../test/browser/chromium.ts"
import { serve } from "../../test/browser/server.ts"
import { shapes, writeCheckpoint } from "../model/random.mjs"
import { summary } from "../model/summary.mjs"

const root = fileURLToPath(new URL("../..", import.meta.url))
const work = join(root, ".work", "bench")
const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    threads: { type: "string", default: "2" },
    plain: { type: "boolean", default: false },
    peers: { type: "boolean", default: false },
  },
})
const name = "mamba-130m"
const peers = join(root, "benches", "peers")
const types = options.peers ? ["f32", "f16", "q8_0"] : []
const common = { threads: Number(options.threads), prefill: 512, decode: 64, runs: 3 }

interface Measured {
  cold: Record<"import" | "load" | "first" | "total", number>
  prefill: number[]
  decode: number[]
  info: unknown
  isolated: boolean
}

function prepare(): void {
  mkdirSync(work, { recursive: true })
  const folder = join(work, name)
  const shape = shapes[name]
  if (shape && !existsSync(join(folder, "generation_config.json"))) writeCheckpoint(shape, folder)
  if (types.length > 0 && !existsSync(join(peers, "node_modules"))) {
    execFileSync("npm", ["install", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: peers, stdio: "inherit" })
  }
  for (const type of types) {
    const file = join(work, `${name}-${type}.gguf`)
    if (!existsSync(file)) execFileSync(process.execPath, ["make-gguf.mjs", name, file, type], { cwd: peers, stdio: "inherit" })
  }
}

prepare()
const folders = { "/": root, "/models/": work, "/wllama/": join(peers, "node_modules", "@wllama", "wllama") }
const server = await serve({ isolated: true, folders })
server.files.set("/bench.html", "<!doctype html><title>bench</title>")
const browser = await openBrowser()

/** A page of its own for each measurement, so that nothing is warm or cached. */
async function measure(script: string, argument: Record<string, unknown>): Promise<Measured> {
  const { page } = await openPage(browser, `${server.origin}/bench.html`)
  const code = `import("/benches/browser/${script}").then((m) => m.measure(${JSON.stringify({ ...common, ...argument })}))`
  const measured = (await page.evaluate(code)) as Measured
  await page.close()
  return measured
}

const [load] = loadavg()
const runs = new Map<string, Measured[]>()
for (let round = 0; round < Number(options.rounds); round++) {
  const keep = (engine: string, measured: Measured): void => void runs.set(engine, [...(runs.get(engine) ?? []), measured])
  const ours = { module: "/dist/browser.js", folder: `${server.origin}/models/${name}/` }
  keep("statespace bf16", await measure("ours.js", ours))
  const plain = common.threads > 1 ? "/wasm/engine-threads.wasm" : "/wasm/engine.wasm"
  if (options.plain) keep("statespace bf16, without relaxed SIMD", await measure("ours.js", { ...ours, wasm: plain }))
  for (const type of types) keep(`wllama ${type}`, await measure("wllama.js", { file: `/models/${name}-${type}.gguf` }))
  process.stderr.write(`round ${round + 1} of ${options.rounds}\n`)
}
const table = [...runs].map(([engine, measured]) => ({
  engine,
  prefill: summary(measured.flatMap((m) => m.prefill)),
  decode: summary(measured.flatMap((m) => m.decode)),
  firstTokenMs: summary(measured.map((m) => m.cold.total)),
  importMs: summary(measured.map((m) => m.cold.import)),
  loadMs: summary(measured.map((m) => m.cold.load)),
  info: measured[0]?.info,
  isolated: measured[0]?.isolated,
}))
const report = {
  date: new Date().toISOString(),
  commit: execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root, encoding: "utf8" }).trim(),
  browser: browser.version(),
  cpu: cpus()[0]?.model.trim(),
  cores: cpus().length,
  loadAverage: Number(load?.toFixed(1)),
  shape: name,
  threads: common.threads,
  unit: "tokens/s; prefill 512, decode 64 after 16; ms from import to the first token after 8",
  table,
}
await browser.close()
await server.close()
const file = join(root, "benches", "results", `browser-${name}.json`)
const earlier = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as unknown[]) : []
writeFileSync(file, `${JSON.stringify([...earlier, report], null, 1)}\n`)
console.table(
  table.map(({ engine, prefill, decode, firstTokenMs }) => ({
    engine,
    "prefill tok/s": prefill.median,
    "decode tok/s": decode.median,
    "first token ms": firstTokenMs.median,
  })),
)
