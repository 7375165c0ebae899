// @ts-check How long after its signal a prefill on wasm ends, in each of the ways in which the engine can run in Node; the limit is 100 ms.
//   The embedded model, one object on stdout.
//   node benches/wasm/abort.mjs [runs]
import { availableParallelism } from "node:os"
import { load } from "statespace"

const runs = Number(process.argv[2] ?? 30)
/** @type {Record<string, import("statespace").LoadOptions>} */
const ways = {
  "workers that share memory": { threads: Math.max(2, availableParallelism() >> 1) },
  "one worker": { threads: 1 },
  "no worker": { worker: false },
}
const ids = Int32Array.from({ length: 400_000 }, (_, i) => (i * 7919) % 4096)

/** @type {Record<string, object>} */
const results = {}
for (const [name, options] of Object.entries(ways)) {
  const model = await load(undefined, { ...options, backend: "wasm" })
  const session = model.session()
  await session.feed(ids.subarray(0, 5000))
  /** @type {number[]} */
  const times = []
  for (let run = 0; run < runs; run++) {
    const abort = new AbortController()
    let fired = 0
    setTimeout(
      () => {
        fired = performance.now()
        abort.abort()
      },
      20 + (run % 7) * 5,
    )
    await session.feed(ids, { signal: abort.signal }).catch(() => {})
    times.push(performance.now() - fired)
  }
  times.sort((a, b) => a - b)
  const at = (/** @type {number} */ q) => Number(/** @type {number} */ (times[Math.round(q * (times.length - 1))]).toFixed(2))
  results[name] = { threads: model.info().threads, median: at(0.5), p95: at(0.95), max: at(1), n: runs }
  await model.dispose()
}
console.log(JSON.stringify({ unit: "ms", limit: 100, node: process.version, results }, null, 1))
