/** `statespace score FILE`: how well the model predicts a text. */
import type { CAC } from "cac"
import { type Flags, modelOptions } from "./flags.ts"
import { readText, type Terminal, withModel } from "./terminal.ts"

export function score(cli: CAC): void {
  modelOptions(cli.command("score <file>", "Log-probability of a text, token by token (- reads standard input)"))
    .option("--json", "One line of JSON a token, then one for the whole")
    .example("  $ statespace score README.md")
    .action(run)
}

async function run(terminal: Terminal, flags: Flags, file: string): Promise<void> {
  const text = readText(file)
  await withModel(flags, terminal, async (model) => {
    const { logprobs, tokens, nats } = await model.score(text, { signal: terminal.signal, onProgress: terminal.progress })
    const predicted = tokens.length - 1
    const bytes = Buffer.byteLength(text)
    const whole = {
      tokens: tokens.length,
      nats,
      natsPerToken: nats / predicted,
      perplexity: Math.exp(nats / predicted),
      bitsPerByte: nats / Math.LN2 / bytes,
    }
    if (terminal.json) {
      for (const [index, token] of tokens.entries()) terminal.record({ index, token, logprob: logprobs[index] })
      return terminal.record(whole)
    }
    terminal.table([
      ["tokens", tokens.length.toLocaleString("en")],
      ["nats", nats.toFixed(2)],
      ["nats a token", whole.natsPerToken.toFixed(4)],
      ["perplexity", whole.perplexity.toFixed(2)],
      ["bits a byte", whole.bitsPerByte.toFixed(4)],
    ])
  })
}
