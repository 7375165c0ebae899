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
  rows.push(row("Isolated", globalThis.crossOriginIsolated ? "yes, so memory can be shared" : "no"))
  for (const { name, available, reason = "not available", note } of backends.toSorted(
    (a, b) => Number(b.available) - Number(a.available),
  )) {
    rows.push(row(name, available ? (note ?? "available") : reason))
  }
  $("machine").replaceChildren(...rows)
}
