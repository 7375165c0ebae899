// @ts-check
// The branches of a conversation, as tabs. A branch is a session of the model, the text that belongs to it, and its memory over time.
import { $, element } from "./dom.js"
import { shownEntries } from "./transcript.js"

/** @typedef {import("./transcript.js").Entry} Entry */
/** @typedef {{ tokens: number, state: number, engine: number }} Sample bytes of state and of the engine after so many tokens */

export class Branch {
  /** @type {Entry[]} */
  entries = []
  /** @type {Sample[]} */
  samples = []
  /** Tokens that went in or came out; ahead of the session's own count while it works. */
  tokens = 0
  /** Size of the saved state in bytes, once it is known. @type {number | undefined} */
  stateBytes

  /** @param {string} name @param {import("statespace").Session} session */
  constructor(name, session) {
    this.name = name
    this.session = session
    this.tokens = session.tokens
  }

  /** A copy that goes its own way. @param {string} name */
  fork(name) {
    const copy = new Branch(name, this.session.fork())
    copy.entries = [...this.entries]
    copy.samples = [...this.samples]
    copy.stateBytes = this.stateBytes
    return copy
  }

  /** @param {Entry} entry @returns how many old entries were dropped for it */
  add(entry) {
    this.entries.push(entry)
    const surplus = this.entries.length > shownEntries ? shownEntries / 10 : 0
    this.entries.splice(0, surplus)
    return surplus
  }
}

export class Branches {
  /** @type {Branch[]} */
  #all = []
  #at = -1
  #made = 0
  #list = $("tabs")
  /** @type {(branch: Branch | undefined) => void} */
  #onSwitch

  /** @param {(branch: Branch | undefined) => void} onSwitch */
  constructor(onSwitch) {
    this.#onSwitch = onSwitch
    this.#list.addEventListener("keydown", (event) => this.#key(event))
  }

  get current() {
    return this.#all[this.#at]
  }

  /** A name nobody has yet. @param {string} kind */
  name(kind) {
    return `${kind} ${++this.#made}`
  }

  /** Adds a branch and switches to it. @param {Branch} branch */
  open(branch) {
    this.#all.push(branch)
    this.switch(this.#all.length - 1)
  }

  /** @param {number} index */
  switch(index) {
    this.#at = index
    this.#draw()
    this.#onSwitch(this.current)
  }

  /** @param {number} index */
  close(index) {
    const [closed] = this.#all.splice(index, 1)
    closed?.session.dispose()
    this.switch(Math.min(this.#at > index ? this.#at - 1 : this.#at, this.#all.length - 1))
  }

  /** Forgets all of them; their sessions go with their model. */
  clear() {
    this.#all = []
    this.#made = 0
    this.switch(-1)
  }

  /** While a branch works it stays the one that is shown. @param {boolean} locked */
  lock(locked) {
    for (const button of this.#list.querySelectorAll("button")) button.disabled = locked
  }

  #draw() {
    const tabs = this.#all.map(({ name }, index) => {
      const active = index === this.#at
      const attributes = { type: "button", role: "tab", "aria-selected": String(active), "aria-controls": "transcript" }
      const tab = element("button", { ...attributes, tabindex: active ? "0" : "-1" }, name)
      tab.addEventListener("click", () => this.switch(index))
      if (this.#all.length === 1) return tab
      // Beside the tab for the pointer; the keyboard has Delete, so that the list keeps one stop.
      const close = element("button", { type: "button", class: "close", tabindex: "-1", "aria-label": `Close ${name}` }, "×")
      close.addEventListener("click", () => this.close(index))
      return element("span", { role: "presentation", class: "tab" }, tab, close)
    })
    this.#list.replaceChildren(...tabs)
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const last = this.#all.length - 1
    const moves = { ArrowLeft: this.#at === 0 ? last : this.#at - 1, ArrowRight: this.#at === last ? 0 : this.#at + 1, Home: 0, End: last }
    const to = moves[/** @type {keyof typeof moves} */ (event.key)]
    if (event.key === "Delete" && last > 0) this.close(this.#at)
    else if (to !== undefined) this.switch(to)
    else return
    event.preventDefault()
    const active = this.#list.querySelector('[aria-selected="true"]')
    if (active instanceof HTMLElement) active.focus()
  }
}
