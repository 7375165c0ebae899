// @ts-check
// The text of a branch, token by token. Appending waits for the next frame, so that a fast model costs one layout a frame, not one a token.
import { $, element } from "./dom.js"
import { colorOf } from "./scale.js"
import { theme } from "./theme.js"

/** @typedef {{ id: number, text: string, from: "you" | "model" }} Token */
/** @typedef {Token | { note: string }} Entry */

/** Entries that stay in the document; older text is dropped from view, never from the state. */
export const shownEntries = 3000

/** @param {Entry} entry @returns {HTMLElement} */
function drawn(entry) {
  if ("note" in entry) return element("p", { class: "note" }, entry.note)
  return element("span", { class: entry.from }, entry.text)
}

export class Transcript {
  #box = $("transcript")
  /** @type {HTMLElement[]} */
  #nodes = []
  /** @type {HTMLElement[]} */
  #waiting = []
  #frame = 0
  /** Index of the first colored node, and what it is colored by. @type {{ first: number, changes: Float32Array } | undefined} */
  #colors
  #marked = -1

  /** @param {(index: number) => void} onPoint the pointer is on that entry */
  constructor(onPoint) {
    this.show([])
    this.#box.addEventListener("pointerover", (event) => {
      const index = this.#nodes.indexOf(/** @type {HTMLElement} */ (event.target))
      if (index >= 0) onPoint(index)
    })
    document.addEventListener("themechange", () => this.#paint())
  }

  /** Shows another branch. @param {readonly Entry[]} entries */
  show(entries) {
    cancelAnimationFrame(this.#frame)
    this.#frame = 0
    this.#waiting = []
    this.#colors = undefined
    this.#marked = -1
    this.#nodes = entries.map(drawn)
    const empty = element("p", { class: "empty" }, "The text appears here.")
    this.#box.replaceChildren(...(this.#nodes.length > 0 ? this.#nodes : [empty]))
    this.#box.scrollTop = this.#box.scrollHeight
  }

  /** @param {Entry} entry */
  append(entry) {
    const node = drawn(entry)
    if (this.#nodes.length === 0) this.#box.replaceChildren()
    this.#nodes.push(node)
    this.#waiting.push(node)
    this.#frame ||= requestAnimationFrame(() => this.flush())
  }

  flush() {
    cancelAnimationFrame(this.#frame)
    this.#frame = 0
    const follow = this.#box.scrollHeight - this.#box.scrollTop - this.#box.clientHeight < 40
    this.#box.append(...this.#waiting)
    this.#waiting = []
    if (follow) this.#box.scrollTop = this.#box.scrollHeight
  }

  /** The oldest entries leave. @param {number} count */
  drop(count) {
    for (const node of this.#nodes.splice(0, count)) node.remove()
    if (this.#colors) this.#colors.first -= count
    this.#marked -= count
  }

  /** Colors tokens from the entry `first` on; undefined takes the color away. @param {number} first @param {Float32Array | undefined} changes */
  color(first, changes) {
    for (const node of this.#nodes) node.removeAttribute("style")
    this.#colors = changes && { first, changes }
    this.#paint()
  }

  #paint() {
    if (this.#colors === undefined) return
    const { first, changes } = this.#colors
    const high = Math.max(...changes)
    const low = Math.min(...changes) - 1e-6
    for (const [t, change] of changes.entries()) {
      const node = this.#nodes[first + t]
      if (node === undefined) continue
      // A line below the word: the text keeps its own contrast.
      node.style.setProperty("--heat", `rgb(${colorOf(theme(), "sequential", (change - low) / (high - low))})`)
    }
  }

  /** Marks one entry. @param {number} index */
  mark(index) {
    this.#nodes[this.#marked]?.classList.remove("marked")
    this.#marked = index
    this.#nodes[index]?.classList.add("marked")
  }
}
