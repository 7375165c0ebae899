/** `statespace generate PROMPT`: a prompt and what the model continues it with. */
import type { CAC } from "cac"
import type { GenerateOptions } from "../index.ts"
import { type Flags, modelOptions } from "./flags.ts"
import { dim, readText, type Terminal, withModel } from "./terminal.ts"

export function generate(cli: CAC): void {
  modelOptions(cli.command("generate <prompt>", "Continue a prompt (- reads it from standard input)"))
    .option("--max-new-tokens <number>", "Most tokens to generate (default 64)")
    .option("--min-new-tokens <number>", "No end of text before so many")
    .option("--temperature <number>", "Sample; 0 is greedy, as without sampling options")
    .option("--top-k <number>", "Sample among the k likeliest")
    .option("--top-p <number>", "Sample among the likeliest that reach this probability together")
    .option("--min-p <number>", "Sample among tokens of at least this share of the likeliest one")
    .option("--repetition-penalty <number>", "Discourage tokens seen before (> 1)")
    .option("--seed <number>", "The same tokens again on the same backend")
    .option("--stop <...text>", "End before this text; may be repeated")
    .option("--json", "One line of JSON a token, then one for the result")
    .example('  $ statespace generate "The compiler will" --temperature 0.8 --seed 7')
    .action(run)
}

async function run(terminal: Terminal, flags: Flags, prompt: string): Promise<void> {
  const { model: _model, backend: _backend, threads: _threads, compute: _compute, json: _json, ...sampling } = flags
  const options = { maxNewTokens: 64, ...sampling, signal: terminal.signal } as GenerateOptions
  const text = prompt === "-" ? readText("-") : prompt
  await withModel(flags, terminal, async (model) => {
    const generation = model.generate(text, options)
    const start = performance.now()
    if (!terminal.json) terminal.write(dim(text, process.stdout))
    try {
      for await (const piece of generation) {
        if (terminal.json) terminal.record({ index: piece.index, token: piece.token, text: piece.text, logprob: piece.logprob })
        else terminal.write(piece.text)
      }
    } finally {
      if (!terminal.json) terminal.write("\n")
    }
    const { tokens, text: continuation, finishReason, usage, seed } = await generation.result()
    if (terminal.json) terminal.record({ text: continuation, tokens, finishReason, usage, seed })
    const speed = tokens.length / ((performance.now() - start) / 1000)
    const drawn = seed === undefined ? "" : `, seed ${seed}`
    terminal.note(`${tokens.length} tokens, ${speed.toFixed(0)} a second, ended by ${finishReason}${drawn}`)
  })
}
