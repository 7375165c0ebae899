// @ts-check
// One measurement of the opponent through its public API; a fresh process per call, so that cold start and memory mean something.
//   node node-llama-cpp.mjs MODEL.gguf THREADS   →  one JSON line
import { getLlama } from "node-llama-cpp"
import { tokenIds as ids } from "../model/ids.mjs"

const [modelPath = "", threadText = "2"] = process.argv.slice(2)
const threads = Number(threadText)
const prefillTokens = 512
const decodeTokens = 64

const llama = await getLlama({ gpu: false, maxThreads: threads, build: "never", logLevel: /** @type {any} */ ("error") })
const model = await llama.loadModel({ modelPath })
const context = await model.createContext({ contextSize: 2048, batchSize: 512, threads: { ideal: threads, min: threads } })
const sequence = context.getSequence()
const tokens = (/** @type {number} */ n, /** @type {number} */ seed) => /** @type {any} */ (ids(n, seed))

const prefill = []
for (let run = -1; run < 3; run++) {
  await sequence.clearHistory()
  const start = performance.now()
  await sequence.evaluateWithoutGeneratingNewTokens(tokens(prefillTokens, 100 + run))
  if (run >= 0) prefill.push((prefillTokens / (performance.now() - start)) * 1000)
}
const decode = []
for (let run = -1; run < 3; run++) {
  await sequence.clearHistory()
  let count = 0
  let start = 0
  for await (const _ of sequence.evaluate(tokens(16, 300 + run), { temperature: 0, yieldEogToken: true })) {
    if (count === 0) start = performance.now()
    if (++count > decodeTokens) break
  }
  if (run >= 0) decode.push((decodeTokens / (performance.now() - start)) * 1000)
}
console.log(JSON.stringify({ engine: "node-llama-cpp", threads, prefill, decode }))
process.exit(0)
