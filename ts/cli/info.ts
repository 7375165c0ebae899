/** `statespace info [MODEL]`: what a model is and what it runs on. */
import type { CAC } from "cac"
import { type Flags, modelOptions, UsageError } from "./flags.ts"
import { megabytes, type Terminal, withModel } from "./terminal.ts"

export function info(cli: CAC): void {
  modelOptions(cli.command("info [model]", "What a model is, and what it runs on here"))
    .option("--json", "One line of JSON: the same, and the configuration")
    .action(run)
}

async function run(terminal: Terminal, flags: Flags, source?: string): Promise<void> {
  if (source !== undefined && flags.model !== undefined) throw new UsageError("The model is named twice.")
  await withModel({ ...flags, model: source ?? flags.model }, terminal, async (model) => {
    const about = model.info()
    const { config } = model
    if (terminal.json) return terminal.record({ ...about, config })
    const threads = `${about.threads} ${about.threads === 1 ? "thread" : "threads"}`
    const place = about.device ?? `${about.isa}, ${threads}`
    terminal.table([
      ["model", about.name],
      ["from", about.source],
      ["family", about.family],
      ["parameters", about.parameters.toLocaleString("en")],
      ["layers", String(config.numHiddenLayers)],
      ["hidden size", String(config.hiddenSize)],
      ["vocabulary", config.vocabSize.toLocaleString("en")],
      ["backend", `${about.backend} (${place}, compute ${about.compute})`],
      ["weights", megabytes(about.bytes.weights)],
    ])
  })
}
