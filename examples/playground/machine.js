// @ts-check
// What runs here and what does not, in the words of info().
import { info } from "statespace"
import { $, bytesText, countText, element } from "./dom.js"

/** @param {string} name @param {string} text */
function row(name, text) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, text))
}

/** @param {import("statespace").Model | undefined} model */
export function showMachine(model) {
  const { version, backends } = info()
  const rows = [row("statespace", version)]
  if (model) {
    const { backend, isa, threads, compute, family, bytes } = model.info()
    rows.push(row("Runs on", `${backend}, ${isa}, ${threads === 1 ? "1 thread" : `${threads} threads`}, ${compute}`))
    const { hiddenSize, numHiddenLayers, vocabSize } = model.config
    const shape = `${family}: ${numHiddenLayers} layers of ${countText(hiddenSize)}, ${countText(vocabSize)} tokens of vocabulary`
    rows.push(row("Model", shape), row("Weights", bytesText(bytes.weights)))
  }
  const isolated = "yes: memory can be shared, so threads are possible"
  rows.push(row("Isolated", globalThis.crossOriginIsolated ? isolated : "no: its server sends no COOP and COEP headers"))
  for (const { name, available, reason, note } of backends) {
    rows.push(row(name, available ? ["available", note].filter(Boolean).join(": ") : (reason ?? "not available")))
  }
  $("machine").replaceChildren(...rows)
}
