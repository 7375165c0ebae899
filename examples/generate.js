// @ts-check
// Text as it is made, and a batch of prompts.   node examples/generate.js [MODEL] [PROMPT]
import { load } from "statespace"

const [source, prompt = "The compiler will"] = process.argv.slice(2)
const model = await load(source)

process.stdout.write(prompt)
for await (const { text } of model.generate(prompt, { maxNewTokens: 64, temperature: 0.8, topP: 0.95, seed: 7 })) process.stdout.write(text)

const starts = ["A lifetime is", "Cargo reads", "fn main() {"]
for (const [row, { text, finishReason }] of (await model.complete(starts, { maxNewTokens: 16 })).entries()) {
  console.log(`\n[${finishReason}] ${starts[row]}${text}`)
}
await model.dispose()
