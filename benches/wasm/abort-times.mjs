// @ts-check
import { summary } from "../model/summary.mjs"

/**
 * Milliseconds from a signal to the end of the prefill that it aborts.
 * @param {import("statespace").Model} model
 * @param {number} runs
 */
export async function abortTimes(model, runs) {
  const { vocabSize } = model.config
  const ids = Int32Array.from({ length: 400_000 }, (_, i) => (i * 7919) % vocabSize)
  const session = model.session()
  // So that the programs are there.
  await session.feed(ids.subarray(0, 600))
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
    const error = await session.feed(ids, { signal: abort.signal }).catch((error) => error)
    if (error?.name !== "AbortError") throw error ?? new Error("the prefill was done before its signal")
    times.push(performance.now() - fired)
  }
  return { threads: model.info().threads, ...summary(times) }
}
