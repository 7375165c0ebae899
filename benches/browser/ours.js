// @ts-check
// This package in a page, through its public API; the twin of wllama.js. Times in ms, speeds in tokens/s.
import { tokenIds as ids } from "/benches/model/ids.mjs"

/**
 * Waits until the page has written what it loaded to its cache, which it does after the first token and which takes of the machine what is
 * to be measured. The record is written last.
 * @param {string} url
 */
async function kept(url) {
  const end = performance.now() + 60_000
  while ((await (await caches.open("statespace")).match(`${url}?statespace=entry`)) === undefined) {
    if (performance.now() > end) throw new Error("the cache is not written after a minute")
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** @param {{ module: string, folder: string, wasm?: string, threads: number, prefill: number, decode: number, runs: number }} o */
export async function measure(o) {
  const start = performance.now()
  const { load } = await import(o.module)
  const imported = performance.now()
  const model = await load(o.folder, { threads: o.threads, wasm: o.wasm })
  const loaded = performance.now()
  await model.complete(ids(8, 1), { maxNewTokens: 1 })
  const first = performance.now()
  await kept(`${o.folder}model.safetensors`)
  const prefill = []
  for (let run = -1; run < o.runs; run++) {
    const session = model.session()
    // The last token of a feed waits for whoever needs its logits, so one more puts `prefill` through the layers.
    const tokens = ids(o.prefill + 1, 100 + run)
    const from = performance.now()
    await session.feed(tokens)
    if (run >= 0) prefill.push((o.prefill / (performance.now() - from)) * 1000)
    await session.dispose()
  }
  const decode = []
  for (let run = -1; run < o.runs; run++) {
    const session = model.session()
    await session.feed(ids(16, 300 + run))
    let count = 0
    let from = 0
    for await (const _ of session.generate({ maxNewTokens: o.decode + 1 })) if (count++ === 0) from = performance.now()
    if (count !== o.decode + 1) throw new Error(`asked for ${o.decode + 1} tokens, got ${count}`)
    if (run >= 0) decode.push((o.decode / (performance.now() - from)) * 1000)
    await session.dispose()
  }
  const info = model.info()
  await model.dispose()
  const cold = { import: imported - start, load: loaded - imported, first: first - loaded, total: first - start }
  return { cold, prefill, decode, info, isolated: crossOriginIsolated }
}
