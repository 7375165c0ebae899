/** `statespace embed FILE`: one vector for a text. */
import type { CAC } from "cac"
import type { EmbedOptions } from "../index.ts"
import { type Flags, modelOptions } from "./flags.ts"
import { readText, type Terminal, withModel } from "./terminal.ts"

export function embed(cli: CAC): void {
  modelOptions(cli.command("embed <file>", "Vector of a text (- reads standard input)"))
    .option("--pooling <kind>", "mean of all tokens (default), or last")
    .option("--json", "One line of JSON: the vector and its size")
    .example("  $ statespace embed README.md --json")
    .action(run)
}

async function run(terminal: Terminal, flags: Flags, file: string): Promise<void> {
  const text = readText(file)
  await withModel(flags, terminal, async (model) => {
    const options = { pooling: flags.pooling, signal: terminal.signal, onProgress: terminal.progress } as EmbedOptions
    const embedding = await model.embed(text, options)
    if (terminal.json) terminal.record({ size: embedding.length, embedding })
    else terminal.line(embedding.join(" "))
  })
}
