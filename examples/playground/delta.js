// @ts-check
// From the Δ that the model used to a picture. In a time-invariant model Δ would be one constant a channel and every picture of its change
// blank; a selective one chooses Δ anew for each token. Channels live on different time scales, so a change is measured against the
// channel's own typical Δ (its geometric mean over the tokens shown), in octaves: log2(Δ / typical).
import { breathe } from "./dom.js"

/** @typedef {{ data: Float32Array, shape: number[] }} Layer Δ after softplus, [tokens, channels] */
/** @typedef {{ rows: number, columns: number, values: Float32Array, kind: import("./scale.js").Kind, low: number, high: number }} Picture */

/** @typedef {{ change: Float32Array, size: Float32Array, groupChange: Float32Array, groupSize: Float32Array, groups: number }} LayerView */

const most = 48

/**
 * What a picture needs of one layer. Per token: the root mean square of the octaves, and the mean Δ. The same per group of channels, which are
 * sorted from slow (small Δ: long memory) to fast; there the octaves are a mean and so keep their sign.
 * @param {Layer} layer
 * @returns {LayerView}
 */
export function lookAt({ data, shape: [tokens = 0, channels = 0] }) {
  const octaves = data.map(Math.log2)
  const typical = new Float32Array(channels)
  for (let t = 0; t < tokens; t++) for (let c = 0; c < channels; c++) typical[c] += octaves[t * channels + c] / tokens
  const order = [...typical.keys()].sort((a, b) => typical[a] - typical[b])
  const groups = Math.min(most, channels)
  const groupOf = new Uint16Array(channels)
  const members = new Uint32Array(groups)
  for (const [at, channel] of order.entries()) members[(groupOf[channel] = Math.floor((at * groups) / channels))]++
  const change = new Float32Array(tokens)
  const size = new Float32Array(tokens)
  const groupChange = new Float32Array(groups * tokens)
  const groupSize = new Float32Array(groups * tokens)
  for (let t = 0; t < tokens; t++) {
    for (let c = 0; c < channels; c++) {
      const octave = octaves[t * channels + c] - typical[c]
      const delta = data[t * channels + c]
      const group = groupOf[c]
      change[t] += (octave * octave) / channels
      size[t] += delta / channels
      groupChange[group * tokens + t] += octave / members[group]
      groupSize[group * tokens + t] += delta / members[group]
    }
    change[t] = Math.sqrt(change[t])
  }
  return { change, size, groupChange, groupSize, groups }
}

/** All layers, with a turn for the page after each. @param {Layer[]} layers @param {AbortSignal} signal */
export async function lookAtAll(layers, signal) {
  const views = []
  for (const layer of layers) {
    views.push(lookAt(layer))
    await breathe()
    signal.throwIfAborted()
  }
  return views
}

/** @param {Float32Array} values @param {number} share */
function quantile(values, share) {
  const sorted = values.slice().sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
}

/**
 * The picture asked for. `rows` is "layers", or the index of a layer whose channels are shown.
 * @param {LayerView[]} views
 * @param {"layers" | number} rows
 * @param {"change" | "size"} value
 * @returns {Picture}
 */
export function picture(views, rows, value) {
  const columns = views[0]?.change.length ?? 0
  const signed = rows !== "layers" && value === "change"
  const view = rows === "layers" ? undefined : views[rows]
  const values = view
    ? (value === "change" ? view.groupChange : view.groupSize).slice()
    : Float32Array.from(views.flatMap((each) => [...each[value]]))
  const shape = { rows: view?.groups ?? views.length, columns, values }
  if (signed) {
    const reach = Math.max(0.25, quantile(values.map(Math.abs), 0.99))
    return { ...shape, kind: "diverging", low: -reach, high: reach }
  }
  if (value === "change") return { ...shape, kind: "sequential", low: 0, high: Math.max(0.25, quantile(values, 0.995)) }
  return { ...shape, kind: "sequential", low: quantile(values, 0.005), high: quantile(values, 0.995) }
}

/** Place of a value on the color scale. Δ itself spans decades between channels, hence its logarithm. @param {Picture} picture @param {number} x */
export function place({ low, high }, x) {
  if (low > 0) return Math.log(x / low) / Math.log(high / low)
  return (x - low) / (high - low)
}

/**
 * One number a token, for the coloring of the text: the change over all layers, or over one.
 * @param {LayerView[]} views
 * @param {"layers" | number} rows
 */
export function changeOfText(views, rows) {
  const used = rows === "layers" ? views : views.slice(rows, rows + 1)
  const sum = new Float32Array(views[0]?.change.length ?? 0)
  for (const { change } of used) for (const [t, x] of change.entries()) sum[t] += x / used.length
  return sum
}
