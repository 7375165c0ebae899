/** What a page still has to do to its caches: beside the loads that bring the bytes, which do not wait for a disk, and in bounded memory. */

/** Bytes that may wait to be written. A load that brings more of them is held to the speed of the disk. */
const mostBytes = 2 ** 28
/**
 * Milliseconds without news after which steps are taken. They take as much of a machine as loading does, so they leave a fast network alone
 * and fill the pauses of a slow one; and the end of a file leaves time for what somebody waits for then, the first token.
 */
const pause = { block: 200, end: 1500 }

interface Step {
  bytes: number
  run: () => Promise<void>
  done: () => void
}

/**
 * Steps are taken one at a time and in the order in which they were added, whichever cache and file they are for. So the record of the file
 * that was complete first is kept first, and what two loads of this page do to one file never mixes.
 */
export class Backlog {
  readonly #most: number
  readonly #steps: Step[] = []
  #bytes = 0
  /** Those who wait for steps to be done, whatever else goes on. */
  #readers = 0
  #due = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  #working = false
  #wake: (() => void)[] = []
  /** Files that loads are bringing. */
  readonly #open = new Set<string>()
  /** Files of which the last step was added and is not done. */
  readonly #ending = new Map<string, Promise<void>>()

  constructor(most: number = mostBytes) {
    this.#most = most
  }

  /** Takes up a file; false while another load is bringing the same. */
  begin(file: string): boolean {
    if (this.#open.has(file)) return false
    this.#open.add(file)
    return true
  }

  /** Adds a step, which holds so many bytes and must not throw. */
  add(bytes: number, run: () => Promise<void>, after: number = pause.block): Promise<void> {
    this.#bytes += bytes
    this.#due = performance.now() + after
    const finished = new Promise<void>((done) => this.#steps.push({ bytes, run, done }))
    void this.#work()
    return finished
  }

  /** Adds the last step of a file. */
  end(file: string, run: () => Promise<void>, after: number = pause.end): void {
    this.#open.delete(file)
    const ending = this.add(0, run, after).then(() => {
      if (this.#ending.get(file) === ending) this.#ending.delete(file)
    })
    this.#ending.set(file, ending)
  }

  /** Resolves once more bytes may come. Steps wait for nothing but the cache, so none waits for a load that waits here. */
  async room(): Promise<void> {
    while (this.#bytes >= this.#most) await new Promise<void>((resolve) => this.#wake.push(resolve))
  }

  /**
   * Resolves when the cache says of a file what this page knows already: that it is complete, was given up, or is gone. Rejects with the
   * signal's reason.
   */
  async settled(file: string, signal?: AbortSignal): Promise<void> {
    const ending = this.#ending.get(file)
    if (ending === undefined) return
    signal?.throwIfAborted()
    let stop = (): void => {}
    const aborted = new Promise<never>((_, reject) => {
      stop = () => reject(signal?.reason)
    })
    signal?.addEventListener("abort", stop)
    this.#readers++
    void this.#work()
    try {
      await Promise.race([ending, aborted])
    } finally {
      this.#readers--
      signal?.removeEventListener("abort", stop)
    }
  }

  /** Takes steps while there are any and it is time for them. */
  async #work(): Promise<void> {
    if (this.#working) return
    this.#working = true
    clearTimeout(this.#timer)
    for (let step = this.#next(); step !== undefined; step = this.#next()) {
      await step.run()
      this.#bytes -= step.bytes
      step.done()
      for (const wake of this.#wake.splice(0)) wake()
    }
    this.#working = false
    if (this.#steps.length > 0) this.#timer = setTimeout(() => void this.#work(), this.#due - performance.now())
  }

  #next(): Step | undefined {
    const due = this.#readers > 0 || this.#bytes >= this.#most || performance.now() >= this.#due
    return due ? this.#steps.shift() : undefined
  }
}
