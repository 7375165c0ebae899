/**
 * Resolves in a later turn of the event loop, so that messages, timers and frames that wait there come first. A timer would do the same,
 * but browsers make nested ones last 4 ms.
 */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === "function") {
      setImmediate(resolve)
      return
    }
    const { port1, port2 } = new MessageChannel()
    const arrived = (): void => {
      port1.close()
      resolve()
    }
    Object.assign(port1, { onmessage: arrived })
    port2.postMessage(null)
  })
}

/** Lets long work go on for so many milliseconds before it gives way to the event loop. */
export class Pace {
  readonly #length: number
  #start = 0

  constructor(milliseconds: number = 20) {
    this.#length = milliseconds
  }

  /** Work begins that came out of the event loop. */
  begin(): void {
    this.#start = performance.now()
  }

  /** Whether it is time for `rest()`. */
  get due(): boolean {
    return performance.now() - this.#start >= this.#length
  }

  async rest(): Promise<void> {
    await turn()
    this.begin()
  }
}
