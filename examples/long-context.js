// @ts-check
// A long text in constant memory: read it once, save the state, go on from copies.   node examples/long-context.js [FILE] [MODEL]
import { createReadStream } from "node:fs"
import { load } from "statespace"

const [file = new URL("../README.md", import.meta.url), source] = process.argv.slice(2)
const model = await load(source)

const session = model.session()
await session.feed(createReadStream(file, "utf8"))
const bytes = await session.save()
console.log(`${session.tokens} tokens are a state of ${(bytes.length / 1e6).toFixed(2)} MB`)

// One reading, several continuations: a fork costs a copy of the state, not another reading.
for (const seed of [1, 2, 3]) {
  const other = session.fork()
  const { text } = await other.generate({ maxNewTokens: 24, temperature: 0.8, seed }).result()
  console.log(`${seed}: ${JSON.stringify(text)}`)
  await other.dispose()
}

// The saved bytes go on elsewhere: in another process, on another machine.
const restored = model.session(bytes)
console.log(`restored: ${JSON.stringify((await restored.generate({ maxNewTokens: 24 }).result()).text)}`)
await model.dispose()
