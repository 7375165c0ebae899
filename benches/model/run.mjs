// @ts-check Whole-model figures beside the machine's own limits and, if installed, the opponent's figures from the same minutes: the
//   engines take turns, a fresh process each time, and medians over the rounds are compared, since these machines are shared and drift.
//   node benches/model/run.mjs [--shape mamba-130m] [--rounds 5] [--peers]
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { shapes, tensorsOf, writeCheckpoint } from "./random.mjs"
import { summary } from "./summary.mjs"

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..")
const work = join(root, ".work", "bench")
const { values: options } = parseArgs({
  options: {
    shape: { type: "string", default: "mamba-130m" },
    rounds: { type: "string", default: "5" },
    peers: { type: "boolean", default: false },
  },
})
const shape = shapes[options.shape]
if (!shape) throw new Error(`unknown shape ${options.shape}; known: ${Object.keys(shapes).join(", ")}`)

/** @param {string} command @param {string[]} args @param {string} [cwd] */
const json = (command, args, cwd = root) => {
  const lines = execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], maxBuffer: 1 << 26 })
    .trim()
    .split("\n")
  return JSON.parse(/** @type {string} */ (lines.at(-1)))
}
mkdirSync(work, { recursive: true })
const folder = join(work, options.shape)
if (!existsSync(join(folder, "generation_config.json"))) writeCheckpoint(shape, folder)
const peerFolder = join(root, "benches", "peers")
const gguf = join(work, `${options.shape}-f16.gguf`)
if (options.peers) {
  if (!existsSync(join(peerFolder, "node_modules"))) throw new Error("the peers are not installed: npm run bench -- peers")
  if (!existsSync(gguf)) execFileSync("node", ["make-gguf.mjs", options.shape, gguf], { cwd: peerFolder, stdio: "inherit" })
}
execFileSync("cargo", ["build", "--release", "-p", "statespace-bench-kernels", "--bin", "probe"], { cwd: root, stdio: "inherit" })
const probe = join(root, process.env.CARGO_TARGET_DIR ?? "target", "release", "probe")

/** @type {Record<string, { prefill: number[], decode: number[] }>} */
const figures = {}
/** @type {Record<string, { read: number[], fma: number[] }>} */
const limits = {}
for (let round = 0; round < Number(options.rounds); round++) {
  for (const threads of ["1", "2"]) {
    const machine = json(probe, [threads])
    const limit = (limits[threads] ??= { read: [], fma: [] })
    limit.read.push(machine.readGBs)
    limit.fma.push(machine.fmaGflops)
    const runs = [json("node", [join(root, "benches", "model", "ours.mjs"), folder, threads])]
    if (options.peers) runs.push(json("node", ["node-llama-cpp.mjs", gguf, threads], peerFolder))
    for (const run of runs) {
      const f = (figures[`${run.engine} ${threads}t`] ??= { prefill: [], decode: [] })
      f.prefill.push(...run.prefill)
      f.decode.push(...run.decode)
    }
  }
  console.error(`round ${round + 1} of ${options.rounds}`)
}

// What a token must cost: every matrix but the embedding's lookup is multiplied once; a decode step also goes through the head (the tied
// embedding) and reads each weight once.
const matrices = tensorsOf(shape)
  .filter((t) => t.matrix)
  .map((t) => t.shape.reduce((a, b) => a * b, 1))
const all = matrices.reduce((a, b) => a + b, 0)
const head = /** @type {number} */ (matrices[0])
const scanUpdates = shape.layers * 2 * shape.hiddenSize * shape.state
const flops = { prefill: 2 * (all - head) + 7 * scanUpdates, decode: 2 * all + 7 * scanUpdates }
const decodeBytes = 2 * tensorsOf(shape).reduce((a, t) => a + t.shape.reduce((x, y) => x * y, 1), 0) + 8 * scanUpdates

const table = Object.entries(figures).map(([name, f]) => {
  const limit = /** @type {{ read: number[], fma: number[] }} */ (limits[/** @type {string} */ (name.split(" ")[1]).replace("t", "")])
  const prefill = summary(f.prefill)
  const decode = summary(f.decode)
  return {
    name,
    prefill,
    decode,
    prefillShareOfFmaPeak: Number(((prefill.median * flops.prefill) / 1e9 / summary(limit.fma).median).toFixed(3)),
    decodeShareOfReadBandwidth: Number(((decode.median * decodeBytes) / 1e9 / summary(limit.read).median).toFixed(3)),
  }
})
const report = {
  date: new Date().toISOString(),
  commit: execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root, encoding: "utf8" }).trim(),
  node: process.version,
  cpu: cpus()[0]?.model.trim(),
  cores: cpus().length,
  shape: options.shape,
  unit: "tokens/s; prefill 512, decode 64 after 16",
  flopsPerToken: flops,
  bytesPerDecodedToken: decodeBytes,
  limits: Object.fromEntries(Object.entries(limits).map(([t, l]) => [`${t}t`, { readGBs: summary(l.read), fmaGflops: summary(l.fma) }])),
  table,
}
const results = join(root, "benches", "results")
mkdirSync(results, { recursive: true })
const file = join(results, `model-${options.shape}.json`)
const earlier = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : []
writeFileSync(file, `${JSON.stringify([...earlier, report], null, 1)}\n`)
console.table(
  table.map((r) => ({
    name: r.name,
    "prefill tok/s": r.prefill.median,
    "of FMA peak": r.prefillShareOfFmaPeak,
    "decode tok/s": r.decode.median,
    "of read bandwidth": r.decodeShareOfReadBandwidth,
  })),
)
