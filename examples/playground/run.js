// @ts-check
// One piece of work at a time: what it may take (a signal), what it has done (tokens), and how fast.
import { $, bytesText, clearProblem, countText, isAbort, showProblem } from "./dom.js"

const busyControls = ["generate", "new", "fork", "save", "restore", "meter-feed", "meter-choose", "change"]

export class Work {
  /** @type {AbortController | undefined} */
  #controller
  /** @type {Promise<void>} */
  #done = Promise.resolve()
  /** @type {{ time: number, tokens: number }[]} */
  #marks = []
  /** What had the focus before Stop took it. @type {HTMLElement | undefined} */
  #before
  #tokens = 0
  #shownAt = 0

  /**
   * @param {object} hooks
   * @param {() => void} hooks.onTick the numbers changed; a few times a second
   * @param {() => void} hooks.onStart
   * @param {() => void} hooks.onEnd
   */
  constructor(hooks) {
    this.hooks = hooks
    $("stop").addEventListener("click", () => this.stop())
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.busy) return
      event.preventDefault()
      this.stop()
    })
  }

  get busy() {
    return this.#controller !== undefined
  }

  /** Resolves once it has stopped. */
  async stop() {
    this.#controller?.abort()
    await this.#done
  }

  /** @param {boolean} enabled whether work can begin; Stop is there while it cannot */
  enable(enabled) {
    const focused = document.activeElement
    for (const id of busyControls) /** @type {HTMLButtonElement} */ ($(id)).disabled = !enabled
    const stop = /** @type {HTMLButtonElement} */ ($("stop"))
    stop.disabled = enabled
    // A focused button that is switched off would drop the keyboard to the top of the page, so focus waits on Stop and then goes back.
    if (!enabled && focused instanceof HTMLButtonElement && focused.disabled) {
      this.#before = focused
      stop.focus()
    } else if (enabled && focused === stop) (this.#before ?? $("prompt")).focus()
  }

  /**
   * Runs `body`, unless something else runs.
   * @param {string} title of the problem, should there be one
   * @param {(signal: AbortSignal) => Promise<string>} body gives the sentence that says how it ended
   */
  async run(title, body) {
    if (this.busy) return
    clearProblem()
    this.#controller = new AbortController()
    this.#marks = []
    this.#tokens = 0
    this.hooks.onStart()
    this.enable(false)
    this.#done = this.#attempt(title, body, this.#controller.signal)
    await this.#done
  }

  /** @param {string} title @param {(signal: AbortSignal) => Promise<string>} body @param {AbortSignal} signal */
  async #attempt(title, body, signal) {
    try {
      $("status").textContent = await body(signal)
    } catch (error) {
      $("status").textContent = isAbort(error) ? "Stopped; the state is as it was before." : ""
      if (!isAbort(error)) showProblem(title, error)
    }
    this.#controller = undefined
    this.enable(true)
    this.#showSpeed()
    this.hooks.onTick()
    this.hooks.onEnd()
  }

  /** Counts tokens that came. @param {number} tokens */
  came(tokens) {
    const time = performance.now()
    this.#tokens += tokens
    this.#marks.push({ time, tokens: this.#tokens })
    while (this.#marks.length > 2 && time - this.#marks[0].time > 1000) this.#marks.shift()
    if (time - this.#shownAt < 150) return
    this.#shownAt = time
    this.#showSpeed()
    this.hooks.onTick()
  }

  /** Over the marks that are kept: about the last second. */
  #showSpeed() {
    const [first, last] = [this.#marks[0], this.#marks.at(-1)]
    if (!first || !last || last.time <= first.time) return
    $("speed").textContent = `${countText(((last.tokens - first.tokens) / (last.time - first.time)) * 1000)} tok/s`
  }
}

/** @param {import("statespace").Model} model */
export function engineBytes(model) {
  const { bytes } = model.info()
  return { state: bytes.state, engine: Object.values(bytes).reduce((sum, x) => sum + x, 0) }
}

/** @param {import("./branches.js").Branch | undefined} branch @param {import("statespace").Model | undefined} model */
export function showNumbers(branch, model) {
  $("tokens").textContent = branch ? countText(branch.tokens) : "–"
  $("state-size").textContent = branch?.stateBytes ? bytesText(branch.stateBytes) : "–"
  $("memory").textContent = model ? bytesText(engineBytes(model).engine) : "–"
}
