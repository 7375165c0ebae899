// @ts-check
// What context costs: bytes of the engine over tokens fed, drawn beside what an attention cache of this width would take.
import { $, bytesText, countText } from "./dom.js"

/** @typedef {import("./branches.js").Branch} Branch */

const height = 150
const margin = { left: 60, right: 12, top: 14, bottom: 24 }

/** The next of 1, 2, 5 · 10ⁿ. @param {number} value */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value))
  return power * (value <= power ? 1 : value <= 2 * power ? 2 : value <= 5 * power ? 5 : 10)
}

/** @param {string} tag @param {Record<string, string | number>} attributes @param {string} [text] */
function svg(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value))
  if (text !== undefined) made.textContent = text
  return made
}

export class Meter {
  #box = $("meter")
  /**
   * Bytes a token of an attention cache: keys and values, 16-bit, as wide as the model and half as deep, since a block of attention and
   * feed-forward layers takes the place of two of these layers.
   */
  #cachePerToken = 0
  /** @type {Branch | undefined} */
  #branch

  constructor() {
    new ResizeObserver(() => this.#draw()).observe(this.#box)
    this.show(undefined)
  }

  /** @param {{ hiddenSize: number, numHiddenLayers: number }} config */
  setModel({ hiddenSize, numHiddenLayers }) {
    this.#cachePerToken = (2 * 2 * hiddenSize * numHiddenLayers) / 2
  }

  /** @param {Branch | undefined} branch */
  show(branch) {
    this.#branch = branch
    const last = branch?.samples.at(-1)
    const size = branch?.stateBytes
    $("meter-text").textContent =
      last === undefined || last.tokens === 0
        ? "However much this conversation has read, its state keeps its size. Feed it a long text and watch the line."
        : `After ${countText(last.tokens)} tokens the engine holds ${bytesText(last.engine)}, weights included` +
          `${size ? `, and this conversation is a state of ${bytesText(size)}` : ""}. ` +
          `An attention cache for this size of model would be ${bytesText(last.tokens * this.#cachePerToken)}. Steps are programs at their first use.`
    this.#draw()
  }

  #draw() {
    const width = this.#box.clientWidth
    if (width === 0) return
    const samples = this.#branch?.samples ?? []
    const tokens = roundUp(Math.max(1000, samples.at(-1)?.tokens ?? 0))
    const top = roundUp(1.2 * Math.max(1e6, ...samples.map(({ engine }) => engine)))
    const x = (/** @type {number} */ count) => margin.left + (count / tokens) * (width - margin.left - margin.right)
    const y = (/** @type {number} */ bytes) => height - margin.bottom - (bytes / top) * (height - margin.top - margin.bottom)
    const picture = svg("svg", { width, height, role: "img", "aria-label": $("meter-text").textContent ?? "" })
    for (const share of [0, 0.5, 1]) {
      picture.append(
        svg("line", { class: "grid", x1: x(0), x2: x(tokens), y1: y(share * top), y2: y(share * top) }),
        svg("text", { class: "axis", x: margin.left - 8, y: y(share * top) + 4, "text-anchor": "end" }, bytesText(share * top)),
        svg(
          "text",
          { class: "axis", x: x(share * tokens), y: height - 6, "text-anchor": share === 0 ? "start" : share === 1 ? "end" : "middle" },
          share === 1 ? `${countText(tokens)} tokens` : countText(share * tokens),
        ),
      )
    }
    if (this.#cachePerToken > 0) {
      // It leaves the picture where it crosses the top, which is the point.
      const end = Math.min(tokens, top / this.#cachePerToken)
      const [endX, endY] = [x(end), y(end * this.#cachePerToken)]
      const beside = endX + 170 < width
      const place = { x: beside ? endX + 8 : endX - 8, y: Math.max(margin.top - 2, endY - 8), "text-anchor": beside ? "start" : "end" }
      picture.append(
        svg("line", { class: "cache", x1: x(0), y1: y(0), x2: endX, y2: endY }),
        svg("text", { class: "axis", ...place }, width < 420 ? "attention cache" : "attention cache, calculated"),
      )
    }
    for (const name of /** @type {const} */ (["engine", "state"])) {
      // Memory is taken before the tokens that need it are read, so the line first rises and then goes on.
      const points = samples.flatMap((sample, i) => {
        const level = y(sample[name]).toFixed(1)
        return [samples[i - 1] ?? sample, sample].map(({ tokens }) => `${x(tokens).toFixed(1)},${level}`)
      })
      if (points.length === 0) continue
      picture.append(svg("polyline", { class: name, points: points.join(" ") }))
      const [endX = 0, endY = 0] = (points.at(-1) ?? "").split(",").map(Number)
      picture.append(svg("circle", { class: name, cx: endX, cy: endY, r: 3.5 }))
      const right = endX > width - 110
      const place = { x: right ? endX : endX + 8, y: endY - 8, "text-anchor": right ? "end" : "start" }
      picture.append(svg("text", { class: `label ${name}`, ...place }, name === "engine" ? "engine" : "states in it"))
    }
    this.#box.replaceChildren(picture)
  }
}
