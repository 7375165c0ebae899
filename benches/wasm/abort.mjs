// @ts-check How long after its signal a prefill on wasm ends, in each of the ways in which the engine can run in Node; the limit is 100 ms.
//   The embedded model, or a folder; one object on stdout.
//   node benches/wasm/abort.mjs [runs] [folder]
import { availableParallelism } from "node:os"
import { load } from "statespace"
import { abortTimes } from "./abort-times.mjs"

const runs = Number(process.argv[2] ?? 30)
/** @type {Record<string, import("statespace").LoadOptions>} */
const ways = {
  "workers that share memory": { threads: Math.max(2, availableParallelism() >> 1) },
  "one worker": { threads: 1 },
  "no worker": { worker: false },
}
/** @type {Record<string, object>} */
const results = {}
for (const [name, options] of Object.entries(ways)) {
  const model = await load(process.argv[3], { ...options, backend: "wasm" })
  results[name] = await abortTimes(model, runs)
  await model.dispose()
}
console.log(JSON.stringify({ unit: "ms", limit: 100, node: process.version, results }, null, 1))
