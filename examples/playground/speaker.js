// @ts-check
// Streamed text for people who listen: whole sentences in a live region, since one announcement a token is noise.
import { $ } from "./dom.js"

export class Speaker {
  #waiting = ""

  /** @param {string} text */
  add(text) {
    this.#waiting += text
    if (/[.!?:;}\n]\s*$/.test(this.#waiting) || this.#waiting.length > 200) this.flush()
  }

  flush() {
    if (this.#waiting.trim() !== "") $("spoken").textContent = this.#waiting
    this.#waiting = ""
  }
}
