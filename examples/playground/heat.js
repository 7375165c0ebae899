// @ts-check
// The heat map of Δ: one column a token, one row a layer or a group of channels. Pointer and arrow keys choose a token.
import { changeOfText, lookAtAll, picture, place } from "./delta.js"
import { $, element } from "./dom.js"
import { colorOf, gradient } from "./scale.js"
import { theme } from "./theme.js"

/** Tokens that are looked at: the last ones. */
export const heatTokens = 160

const words = {
  layers: {
    change:
      "How far Δ leaves what is usual for a channel, in octaves. A strong color: the token opens or shuts many of them. " +
      "Without selectivity this picture would be blank.",
    size: "Mean Δ of each layer. A large Δ lets the token into the state and forgets; a small one lets the state pass unchanged.",
  },
  channels: {
    change: "Δ against what is usual for a channel. Blue: the token enters the state and pushes the past out; orange: it is passed over.",
    size: "Δ on a logarithmic scale. Channels with a small Δ remember for long, those with a large one live in the last few tokens.",
  },
}

/** @param {number} octaves */
const ratio = (octaves) => `×${(2 ** octaves).toFixed(2)}`

export class HeatMap {
  /** @type {import("./delta.js").LayerView[]} */
  #views = []
  /** @type {string[]} */
  #texts = []
  /** @type {import("./delta.js").Picture | undefined} */
  #picture
  #partial = false
  #cells = new OffscreenCanvas(1, 1)
  #selected = -1
  #canvas = /** @type {HTMLCanvasElement} */ ($("heat-map"))
  #rows = /** @type {HTMLSelectElement} */ ($("heat-rows"))
  #value = /** @type {HTMLSelectElement} */ ($("heat-value"))
  /** @type {(token: number) => void} */
  #onSelect
  /** @type {(changes: Float32Array | undefined) => void} */
  #onColors

  /**
   * @param {object} hooks
   * @param {(token: number) => void} hooks.onSelect a token of the picture was chosen
   * @param {(changes: Float32Array | undefined) => void} hooks.onColors one number a token, for coloring the text
   */
  constructor({ onSelect, onColors }) {
    this.#onSelect = onSelect
    this.#onColors = onColors
    for (const select of [this.#rows, this.#value]) select.addEventListener("change", () => this.#change())
    document.addEventListener("themechange", () => this.#change())
    new ResizeObserver(() => this.#draw()).observe(this.#canvas)
    this.#canvas.addEventListener("pointermove", (event) => this.select(this.#tokenAt(event)))
    this.#canvas.addEventListener("pointerdown", (event) => this.select(this.#tokenAt(event)))
    this.#canvas.addEventListener("keydown", (event) => this.#key(event))
    this.clear("Generate something to see it.")
  }

  /** @param {string} why */
  clear(why) {
    this.#views = []
    this.#texts = []
    this.#partial = false
    this.#picture = undefined
    this.#selected = -1
    this.#canvas.setAttribute("aria-valuetext", "No tokens yet")
    $("heat-detail").replaceChildren(element("p", { class: "quiet" }, why))
    this.#change()
  }

  /** @param {number} count */
  setLayers(count) {
    const layers = Array.from({ length: count }, (_, i) => element("option", { value: String(i) }, `Layer ${i + 1}, channels`))
    this.#rows.replaceChildren(element("option", { value: "layers" }, "All layers"), ...layers)
  }

  /**
   * @param {import("./delta.js").Layer[]} layers
   * @param {string[]} texts of the tokens
   * @param {boolean} partial whether the branch holds more than these tokens
   * @param {AbortSignal} signal
   */
  async show(layers, texts, partial, signal) {
    const views = await lookAtAll(layers, signal)
    this.#views = views
    this.#partial = partial
    this.#texts = texts
    this.#selected = -1
    this.#change()
    // The token that moved Δ most is a good place to start looking.
    const changes = changeOfText(views, "layers")
    this.select(changes.indexOf(Math.max(...changes)))
  }

  /** @returns {"layers" | number} */
  #row() {
    return this.#rows.value === "layers" ? "layers" : Number(this.#rows.value)
  }

  #change() {
    const rows = this.#row()
    const value = this.#value.value === "size" ? "size" : "change"
    const alone = this.#partial ? ` Computed for these ${this.#texts.length} tokens alone, from an empty state.` : ""
    $("heat-text").textContent = words[rows === "layers" ? "layers" : "channels"][value] + alone
    $("heat-top").textContent = rows === "layers" ? "first layer" : "slow"
    $("heat-bottom").textContent = rows === "layers" ? "last layer" : "fast"
    this.#picture = this.#views.length > 0 ? picture(this.#views, rows, value) : undefined
    this.#onColors(this.#picture && changeOfText(this.#views, rows))
    this.#legend(value, rows)
    this.#paint()
    this.#draw()
    this.#detail()
  }

  /** @param {"change" | "size"} value @param {"layers" | number} rows */
  #legend(value, rows) {
    const shown = this.#picture
    $("legend").hidden = shown === undefined
    if (shown === undefined) return
    const middle = shown.low > 0 ? Math.sqrt(shown.low * shown.high) : (shown.low + shown.high) / 2
    const signed = rows !== "layers" && value === "change"
    const tick = (/** @type {number} */ x) => (value === "size" ? x.toPrecision(2) : signed ? ratio(x) : x.toFixed(2))
    const bar = element("div", { class: "legend-bar" })
    bar.style.backgroundImage = gradient(theme(), shown.kind)
    const name = value === "size" ? "Δ" : signed ? "Δ ÷ usual" : "octaves"
    const ticks = [shown.low, middle, shown.high].map((x) => element("span", {}, tick(x)))
    const hint = "Point at a token, or use ← →"
    $("legend").replaceChildren(
      bar,
      element("span", { class: "legend-name" }, name),
      element("div", { class: "legend-ticks" }, ...ticks),
      element("span", { class: "legend-hint" }, hint),
    )
  }

  /** Width of a column in CSS pixels: a short text does not fill the panel with slabs. */
  #step() {
    return Math.min(22, this.#canvas.clientWidth / Math.max(1, this.#picture?.columns ?? 1))
  }

  /** Colors the cells, one pixel each; drawing stretches them. */
  #paint() {
    const shown = this.#picture
    if (shown === undefined) return
    const image = new ImageData(shown.columns, shown.rows)
    for (const [at, value] of shown.values.entries()) image.data.set([...colorOf(theme(), shown.kind, place(shown, value)), 255], 4 * at)
    this.#cells = new OffscreenCanvas(shown.columns, shown.rows)
    this.#cells.getContext("2d")?.putImageData(image, 0, 0)
  }

  #draw() {
    const shown = this.#picture
    const context = this.#canvas.getContext("2d")
    if (context === null) return
    const tall = shown === undefined ? 8 : shown.rows
    this.#canvas.style.height = `${tall > 30 ? 4 * tall : Math.max(8, Math.min(18, 240 / tall)) * tall}px`
    const scale = devicePixelRatio
    const [width, height] = [this.#canvas.clientWidth, this.#canvas.clientHeight]
    this.#canvas.width = Math.round(width * scale)
    this.#canvas.height = Math.round(height * scale)
    if (shown === undefined) return
    const step = this.#step() * scale
    context.imageSmoothingEnabled = false
    context.drawImage(this.#cells, 0, 0, step * shown.columns, this.#canvas.height)
    if (this.#selected < 0) return
    context.strokeStyle = getComputedStyle(this.#canvas).color
    context.lineWidth = 2 * scale
    context.strokeRect(this.#selected * step, scale, Math.max(step, 3 * scale), height * scale - 2 * scale)
  }

  /** @param {PointerEvent} event */
  #tokenAt(event) {
    const at = Math.floor((event.clientX - this.#canvas.getBoundingClientRect().left) / this.#step())
    return Math.min(at, this.#texts.length - 1)
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const last = this.#texts.length - 1
    const to = { ArrowLeft: this.#selected - 1, ArrowRight: this.#selected + 1, Home: 0, End: last }[event.key]
    if (to === undefined || last < 0) return
    event.preventDefault()
    this.select(Math.min(last, Math.max(0, to)))
  }

  /** @param {number} token its place in the picture */
  select(token) {
    if (token < 0 || token === this.#selected || token >= this.#texts.length) return
    this.#selected = token
    this.#draw()
    this.#detail()
    this.#onSelect(token)
  }

  #detail() {
    const [views, token] = [this.#views, this.#selected]
    if (views.length === 0 || token < 0) return
    const text = JSON.stringify(this.#texts[token])
    const values = views.map((view) => view.change[token])
    const top = Math.max(...views.flatMap((view) => [...view.change]))
    const most = values.indexOf(Math.max(...values))
    const where = `most in layer ${most + 1}, ${values[most].toFixed(2)} octaves; mean Δ there ${views[most].size[token].toPrecision(2)}`
    const summary = `Token ${token + 1} of ${this.#texts.length}: ${where}.`
    const bars = values.map((value, i) => {
      const bar = element("span", { class: "bar", title: `layer ${i + 1}: ${value.toFixed(2)} octaves` })
      bar.style.setProperty("--share", String(value / top))
      return bar
    })
    const title = element("p", {}, element("code", { class: "token" }, text), ` ${summary}`)
    $("heat-detail").replaceChildren(element("div", { class: "bars", "aria-hidden": "true" }, ...bars), title)
    const slider = { valuemax: String(this.#texts.length), valuenow: String(token + 1), valuetext: `${text}. ${summary}` }
    for (const [name, value] of Object.entries(slider)) this.#canvas.setAttribute(`aria-${name}`, value)
  }
}
