/** From tokens to the text that may be shown: whole characters only, and nothing of a stop string. */

/** The part of a tokenizer that streams. */
export interface TokenStream {
  /** Text that this id completes. */
  push(id: number): string
  /** What is still held back. */
  flush(): string
}

/** Length of the longest end of `text` that starts a stop string without being all of it. */
function heldLength(text: string, stops: readonly string[]): number {
  let longest = 0
  for (const stop of stops) {
    for (let n = Math.min(stop.length - 1, text.length); n > longest; n--) {
      if (text.endsWith(stop.slice(0, n))) longest = n
    }
  }
  return longest
}

export class StopText {
  readonly #stream: TokenStream | undefined
  readonly #stops: readonly string[]
  #held = ""

  constructor(stream: TokenStream | undefined, stops: readonly string[]) {
    this.#stream = stream
    this.#stops = stops
  }

  /** Text that can be shown after this token, and whether a stop string was completed by it. */
  push(id: number): { text: string; stopped: boolean } {
    this.#held += this.#stream?.push(id) ?? ""
    return this.#take(false)
  }

  /** The last token: nothing is held back any longer. */
  end(): { text: string; stopped: boolean } {
    this.#held += this.#stream?.flush() ?? ""
    return this.#take(true)
  }

  #take(all: boolean): { text: string; stopped: boolean } {
    const found = this.#stops.map((stop) => this.#held.indexOf(stop)).filter((at) => at >= 0)
    const stopped = found.length > 0
    const cut = stopped ? Math.min(...found) : this.#held.length - (all ? 0 : heldLength(this.#held, this.#stops))
    const text = this.#held.slice(0, cut)
    this.#held = stopped ? "" : this.#held.slice(cut)
    return { text, stopped }
  }
}
