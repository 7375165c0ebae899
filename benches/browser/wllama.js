// @ts-check
// The opponent in a page, through its public API. With the vocabulary of make-gguf.mjs a digit is a token, which `usage` confirms.

/** @param {{ file: string, threads: number, prefill: number, decode: number, runs: number }} o */
export async function measure(o) {
  const start = performance.now()
  const { Wllama, LoggerWithoutDebug } = await import(/** @type {any} */ ("/wllama/esm/index.min.js"))
  const imported = performance.now()
  const engine = new Wllama({ default: "/wllama/esm/wasm/wllama.wasm" }, { logger: LoggerWithoutDebug, suppressNativeLog: true })
  const blob = await (await fetch(o.file)).blob()
  await engine.loadModel([blob], { n_ctx: 2048, n_threads: o.threads, n_gpu_layers: 0 })
  const loaded = performance.now()
  let seed = 12345
  /** @param {number} n */
  const digits = (n) => {
    let text = ""
    while (text.length < n) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
      text += Math.floor(seed / 429496729.6)
    }
    return text
  }
  /** @param {number} length @param {number} tokens */
  const ask = async (length, tokens) => {
    const from = performance.now()
    const stream = await engine.createCompletion({
      ...{ prompt: digits(length), max_tokens: tokens, temperature: 0, top_k: 1, ignore_eos: true, stream: true },
    })
    let [first, last, count] = [0, 0, 0]
    let timings
    for await (const chunk of stream) {
      last = performance.now()
      if (count++ === 0) first = last
      timings = chunk.timings ?? timings
    }
    return { first: first - from, rest: last - first, timings }
  }
  await ask(8, 1)
  const first = performance.now()
  const prefill = []
  const decode = []
  for (let run = -1; run < o.runs; run++) {
    const { first: time, timings } = await ask(o.prefill, 1)
    // Its own clock where it tells it, which leaves out what the page adds.
    if (run >= 0) prefill.push(timings ? timings.prompt_per_second : (o.prefill / time) * 1000)
  }
  for (let run = -1; run < o.runs; run++) {
    const { rest } = await ask(16, o.decode + 1)
    if (run >= 0) decode.push((o.decode / rest) * 1000)
  }
  const info = { threads: engine.getNumThreads(), multithread: engine.isMultithread() }
  await engine.exit()
  const cold = { import: imported - start, load: loaded - imported, first: first - loaded, total: first - start }
  return { cold, prefill, decode, info, isolated: crossOriginIsolated }
}
