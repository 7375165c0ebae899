// @ts-check
// What can be done with a conversation: go on, feed, fork, save, restore.
import { Branch } from "./branches.js"
import { $, bytesText, countText, element, isAbort, showProblem } from "./dom.js"
import { engineBytes } from "./run.js"
import { Speaker } from "./speaker.js"

/** @typedef {import("statespace").Model} Model */

/** Longer prompts are not shown token by token: the model reads them, the page names them. */
const longPrompt = 4000
/** Points of the memory line; when there are more, every other one goes. */
const mostSamples = 600

const endings = { length: "", stop: "", eos: "The model ended the text. ", abort: "Stopped. " }

const input = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ ($(id))

/** @returns {import("statespace").GenerateOptions} */
function options() {
  const seed = input("seed").value.trim()
  return {
    maxNewTokens: Number(input("max-tokens").value),
    temperature: Number(input("temperature").value),
    topP: Number(input("top-p").value),
    ...(seed && { seed: BigInt(seed) }),
  }
}

export class Talk {
  #speaker = new Speaker()

  /**
   * @param {object} parts
   * @param {import("./branches.js").Branches} parts.branches
   * @param {import("./transcript.js").Transcript} parts.transcript
   * @param {import("./run.js").Work} parts.work
   * @param {() => Model | undefined} parts.model
   * @param {(count: number) => void} parts.onDrop so many of the oldest entries left the transcript
   */
  constructor({ branches, transcript, work, model, onDrop }) {
    this.branches = branches
    this.transcript = transcript
    this.work = work
    this.model = model
    this.onDrop = onDrop
  }

  /** A branch from nothing. */
  begin() {
    const model = this.model()
    if (model) this.branches.open(new Branch(this.branches.name("Branch"), model.session()))
  }

  /** @param {Branch} branch @param {import("./transcript.js").Entry} entry */
  #add(branch, entry) {
    this.transcript.append(entry)
    const dropped = branch.add(entry)
    if (dropped === 0) return
    this.transcript.flush()
    this.transcript.drop(dropped)
    this.onDrop(dropped)
  }

  /** A point of the memory line. @param {Branch} branch */
  sample(branch) {
    const model = this.model()
    const { tokens } = branch
    if (!model || branch.samples.at(-1)?.tokens === tokens) return
    branch.samples.push({ tokens, ...engineBytes(model) })
    if (branch.samples.length > mostSamples) branch.samples = branch.samples.filter((_, i) => i % 2 === 1 || i === 0)
  }

  /** @param {string} title @param {(branch: Branch, model: Model, signal: AbortSignal) => Promise<string>} body */
  async #work(title, body) {
    const [branch, model] = [this.branches.current, this.model()]
    if (!branch || !model) return
    await this.work.run(title, async (signal) => {
      try {
        return await body(branch, model, signal)
      } finally {
        branch.tokens = branch.session.tokens
        branch.stateBytes = (await branch.session.save()).length
      }
    })
  }

  /** Feeds the prompt, if there is one, and continues. */
  async generate() {
    const prompt = /** @type {HTMLTextAreaElement} */ ($("prompt"))
    await this.#work("The model could not go on.", async (branch, model, signal) => {
      if (prompt.value !== "") await this.#feedPrompt(branch, model, prompt.value, signal)
      prompt.value = ""
      $("status").textContent = "Generating…"
      const generation = branch.session.generate({ ...options(), signal, stopOnAbort: true })
      let count = 0
      for await (const { text, token } of generation) {
        this.#add(branch, { id: token, text, from: "model" })
        this.#speaker.add(text)
        branch.tokens++
        this.work.came(1)
        count++
      }
      this.transcript.flush()
      this.#speaker.flush()
      const { finishReason, seed } = await generation.result()
      return `${endings[finishReason]}${countText(count)} tokens${seed === undefined ? "" : `, seed ${seed}`}.`
    })
  }

  /** @param {Branch} branch @param {Model} model @param {string} text @param {AbortSignal} signal */
  async #feedPrompt(branch, model, text, signal) {
    $("status").textContent = "Reading the prompt…"
    let last = 0
    const onProgress = (/** @type {import("statespace").Progress} */ { loaded }) => {
      branch.tokens += loaded - last
      this.work.came(loaded - last)
      last = loaded
    }
    if (text.length > longPrompt) {
      await branch.session.feed(text, { signal, onProgress })
      this.#add(branch, { note: `A prompt of ${bytesText(text.length)}: “${text.slice(0, 60).trim()} … ${text.slice(-60).trim()}”` })
      return
    }
    const ids = model.tokenizer.encode(text)
    await branch.session.feed(ids, { signal, onProgress })
    const stream = model.tokenizer.stream()
    for (const id of ids) this.#add(branch, { id, text: stream.push(id), from: "you" })
  }

  /**
   * Feeds a long text piece by piece, each a call of its own, so that what was read stays when it is stopped.
   * @param {Iterable<string> | AsyncIterable<string>} pieces
   * @param {string} name
   */
  async feed(pieces, name) {
    await this.#work("The text could not be fed.", async (branch, _model, signal) => {
      $("status").textContent = `Feeding ${name}…`
      const before = branch.session.tokens
      let length = 0
      let stopped = false
      try {
        for await (const piece of pieces) {
          const had = branch.session.tokens
          await branch.session.feed(piece, { signal })
          length += piece.length
          branch.tokens = branch.session.tokens
          this.sample(branch)
          this.work.came(branch.tokens - had)
        }
      } catch (error) {
        if (!isAbort(error)) throw error
        stopped = true
      }
      const fed = `${countText(branch.session.tokens - before)} tokens`
      if (length > 0) this.#add(branch, { note: `${name}: ${bytesText(length)}, ${fed}` })
      return `${stopped ? "Stopped. " : ""}${bytesText(length)} read: ${fed}.`
    })
  }

  /** A copy of this branch, in a tab of its own. */
  fork() {
    const { current } = this.branches
    if (current) this.branches.open(current.fork(this.branches.name("Fork")))
  }

  /** Hands the state out as a file. */
  async save() {
    await this.#work("The state could not be saved.", async (branch, model) => {
      const bytes = await branch.session.save()
      const name = `${model.info().name}-${branch.session.tokens}-tokens.state`
      const url = URL.createObjectURL(new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (bytes)]))
      element("a", { href: url, download: name }).click()
      setTimeout(() => URL.revokeObjectURL(url), 10_000)
      return `Saved ${name}, ${bytesText(bytes.length)}.`
    })
  }

  /** A branch that goes on from a file. @param {File} file */
  async restore(file) {
    const model = this.model()
    if (!model) return showProblem(`${file.name} needs its model.`, { message: "No model is loaded.", fix: "Load the model first." })
    try {
      const bytes = new Uint8Array(await file.arrayBuffer())
      const branch = new Branch(this.branches.name("Restored"), model.session(bytes))
      branch.stateBytes = bytes.length
      branch.add({ note: `${file.name}: ${countText(branch.session.tokens)} tokens. A state holds what they left behind, not their text.` })
      this.branches.open(branch)
      $("status").textContent = `Restored ${file.name}.`
    } catch (error) {
      showProblem(`${file.name} could not be restored.`, error)
    }
  }
}
