// @ts-check
// One measurement of this package through its public API; a fresh process per call.
//   node ours.mjs FOLDER THREADS   →  one JSON line, the twin of benches/peers/node-llama-cpp.mjs
import { load } from "statespace"
import { tokenIds as ids } from "./ids.mjs"

const [folder = "", threadText = "2"] = process.argv.slice(2)
const threads = Number(threadText)
const prefillTokens = 512
const decodeTokens = 64

const model = await load(folder, { threads })
const prefill = []
for (let run = -1; run < 3; run++) {
  const session = model.session()
  // The last token of a feed waits for whoever needs its logits, so 513 ids put 512 through the layers.
  const tokens = ids(prefillTokens + 1, 100 + run)
  const start = performance.now()
  await session.feed(tokens)
  if (run >= 0) prefill.push((prefillTokens / (performance.now() - start)) * 1000)
  await session.dispose()
}
const decode = []
for (let run = -1; run < 3; run++) {
  const session = model.session()
  await session.feed(ids(16, 300 + run))
  let count = 0
  let start = 0
  for await (const _ of session.generate({ maxNewTokens: decodeTokens + 1 })) {
    if (count++ === 0) start = performance.now()
  }
  if (count !== decodeTokens + 1) throw new Error(`asked for ${decodeTokens + 1} tokens, got ${count}`)
  if (run >= 0) decode.push((decodeTokens / (performance.now() - start)) * 1000)
  await session.dispose()
}
await model.dispose()
console.log(JSON.stringify({ engine: "statespace", threads, prefill, decode }))
