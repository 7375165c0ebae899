/** `statespace bench [MODEL]`: how fast a model runs here, on one backend or on each. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { CAC } from "cac"
import type { LoadOptions, Model } from "../index.ts"
import { count, type Flags, modelOptions, UsageError } from "./flags.ts"
import { sizes } from "./random.ts"
import { megabytes, type Terminal } from "./terminal.ts"

export function bench(cli: CAC): void {
  modelOptions(cli.command("bench [model]", "How fast a model runs here: loading, prompts, generation"))
    .option("--random <size>", `Random weights of a published shape: ${Object.keys(sizes).join(", ")}`)
    .option("--keep <folder>", "Where --random writes its checkpoint, and leaves it; one that is there is used again")
    .option("--all", "Every backend of this machine, in turn")
    .option("--prompt <number>", "Tokens of a prompt (default 512)")
    .option("--tokens <number>", "Tokens generated (default 64)")
    .option("--batch <number>", "Prompts at once (default 1)")
    .option("--runs <number>", "Times that each is measured, after one that is not; medians are shown (default 3)")
    .option("--json", "One line of JSON a backend, with every run")
    .example("  $ statespace bench --random mamba-130m --all")
    .action(run)
}

interface Setup {
  prompt: number
  tokens: number
  batch: number
  runs: number
}

interface Measured {
  backend: string
  isa: string
  threads: number
  compute: string
  parameters: number
  weightBytes: number
  stateBytesPerRow: number
  batch: number
  /** From the start of the process to the first token, and its parts; milliseconds. Of the first backend alone. */
  firstToken?: { process: number; load: number; token: number; total: number } | undefined
  loadMs: number
  /** Tokens a second, all rows together. */
  prefill: number[]
  decode: number[]
}

/** Ids that no model has seen, different for each run. */
function someIds(count: number, vocabSize: number, seed: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => ((i + 1) * 7919 + seed * 104_729) % vocabSize)
}

/** Milliseconds to the first pieces of all rows, and from there to the last ones. */
async function generation(model: Model, { prompt, tokens, batch }: Setup, seed: number, signal: AbortSignal): Promise<[number, number]> {
  const prompts = Array.from({ length: batch }, (_, row) => someIds(prompt, model.config.vocabSize, seed * 1000 + row))
  const start = performance.now()
  let first = start
  let count = 0
  for await (const _ of model.generate(prompts, { maxNewTokens: tokens + 1, signal })) if (++count === batch) first = performance.now()
  if (count !== batch * (tokens + 1)) throw new Error(`${count} tokens came where ${batch * (tokens + 1)} were asked for.`)
  return [first - start, performance.now() - first]
}

async function measure(model: Model, setup: Setup, loaded: { from: number; to: number }, signal: AbortSignal): Promise<Measured> {
  await model.complete(someIds(8, model.config.vocabSize, 0), { maxNewTokens: 1, signal })
  const now = performance.now()
  const { from, to } = loaded
  const { prompt, tokens, batch, runs } = setup
  const prefill: number[] = []
  const decode: number[] = []
  for (let run = 0; run <= runs; run++) {
    const [feeding, generating] = await generation(model, setup, run, signal)
    if (run === 0) continue
    prefill.push((batch * prompt * 1000) / feeding)
    decode.push((batch * tokens * 1000) / generating)
  }
  const { backend, isa, threads, compute, parameters, bytes } = model.info()
  const session = model.session()
  await session.feed(someIds(1, model.config.vocabSize, 0))
  const stateBytesPerRow = (await session.save()).length
  await session.dispose()
  return {
    ...{ backend, isa, threads, compute, parameters, weightBytes: bytes.weights, stateBytesPerRow, batch },
    firstToken: { process: from, load: to - from, token: now - to, total: now },
    ...{ loadMs: to - from, prefill, decode },
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

/** What is measured, and what is to be removed afterwards. */
async function checkpoint(flags: Flags, source: string | undefined): Promise<{ source: string | undefined; remove?: string }> {
  const { random, keep } = flags as { random?: string; keep?: string }
  const named = source ?? (flags.model as string | undefined)
  if (random === undefined) {
    if (keep !== undefined) throw new UsageError("--keep says where --random writes; without it there is nothing to keep.")
    return { source: named }
  }
  if (named !== undefined) throw new UsageError("--random makes a model of its own; name one or the other.")
  if (!(random in sizes)) throw new UsageError(`--random knows ${Object.keys(sizes).join(", ")}, not ${random}.`)
  const { hasRandom, writeRandom } = await import("./random.ts")
  const folder = keep ?? mkdtempSync(join(tmpdir(), "statespace-bench-"))
  if (keep === undefined || !hasRandom(random, keep)) writeRandom(random, folder)
  return { source: folder, ...(keep === undefined && { remove: folder }) }
}

async function run(terminal: Terminal, flags: Flags, source?: string): Promise<void> {
  const setup = {
    prompt: count(flags, "prompt", 512),
    tokens: count(flags, "tokens", 64),
    batch: count(flags, "batch", 1),
    runs: count(flags, "runs", 3),
  }
  if (source !== undefined && flags.model !== undefined) throw new UsageError("The model is named twice.")
  if (flags.all && flags.backend !== undefined) throw new UsageError("--all and --backend exclude each other.")
  const { info, load } = await import("../index.ts")
  const names = flags.all ? info().backends.flatMap(({ name, available }) => (available ? [name] : [])) : [flags.backend]
  const { source: from, remove } = await checkpoint(flags, source)
  try {
    const results: Measured[] = []
    for (const [i, backend] of names.entries()) {
      const { threads, compute } = flags
      const options = { backend, threads, compute, tokenizer: null, signal: terminal.signal, onProgress: terminal.progress } as LoadOptions
      const start = performance.now()
      const model = await load(from, options)
      try {
        const measured = await measure(model, setup, { from: start, to: performance.now() }, terminal.signal)
        // Later ones, and those that waited for a checkpoint to be written, say nothing of a fresh process.
        if (i > 0 || flags.random !== undefined) measured.firstToken = undefined
        results.push(measured)
        if (terminal.json) terminal.record(measured)
      } finally {
        await model.dispose()
      }
    }
    if (!terminal.json) draw(terminal, setup, results)
  } finally {
    if (remove !== undefined) rmSync(remove, { recursive: true, force: true })
  }
}

/** Bars of one scale for each measure, and the bytes a second that generation reads of the weights. */
function draw(terminal: Terminal, { prompt, tokens, batch }: Setup, results: readonly Measured[]): void {
  const [one] = results
  if (one === undefined) return
  terminal.line(
    `${one.parameters.toLocaleString("en")} parameters, weights ${megabytes(one.weightBytes)}, a state ${megabytes(one.stateBytesPerRow)}`,
  )
  const rows = batch === 1 ? "" : `${batch} × `
  const measures: [title: string, of: (m: Measured) => number, note: (m: Measured) => string][] = [
    [`prompt, ${rows}${prompt} tokens`, (m) => median(m.prefill), (m) => `${(2e-9 * m.parameters * median(m.prefill)).toFixed(0)} GFLOP/s`],
    [
      `generation, ${rows}${tokens} tokens`,
      (m) => median(m.decode),
      (m) => `${((1e-9 * m.weightBytes * median(m.decode)) / batch).toFixed(1)} GB/s of weights`,
    ],
  ]
  const width = Math.max(...results.map(({ backend }) => backend.length))
  for (const [title, of, note] of measures) {
    terminal.line(`\n${title}, tokens a second`)
    const most = Math.max(...results.map(of))
    for (const m of results) {
      const speed = of(m)
      const bar = "█".repeat(Math.max(1, Math.round((40 * speed) / most)))
      terminal.line(`  ${m.backend.padEnd(width)}  ${bar} ${Math.round(speed).toLocaleString("en")}  (${note(m)})`)
    }
  }
  terminal.line("")
  terminal.table(
    results.map((m) => {
      const parts = m.firstToken && `, first token ${Math.round(m.firstToken.total)} ms after the start of the process`
      return [m.backend, `${m.isa}, ${m.threads} threads, compute ${m.compute}; loaded in ${Math.round(m.loadMs)} ms${parts ?? ""}`]
    }),
  )
}
