// @ts-check
// From a button, a folder, a URL or a drop to a model. The model at work stays until the next one is ready.
import { load } from "statespace"
import { tiny } from "statespace/tiny"
import { $, bytesText, clearProblem, countText, isAbort, showProblem } from "./dom.js"

/** @typedef {import("statespace").Model} Model */

const phases = { source: "Opening", download: "Downloading", read: "Reading" }

/** @param {import("statespace").Progress} progress */
function showProgress({ phase, file, loaded, total }) {
  const bar = /** @type {HTMLProgressElement} */ ($("loading-bar"))
  if (total) bar.value = loaded / total
  else bar.removeAttribute("value")
  const what = phases[/** @type {keyof typeof phases} */ (phase)] ?? phase
  const size = loaded > 0 ? `, ${bytesText(loaded)}${total ? ` of ${bytesText(total)}` : ""}` : ""
  $("loading-label").textContent = `${what} ${file ?? ""}${size}`
}

/**
 * Every file below a dropped folder. Files that were dropped alone, and browsers without entries, give themselves.
 * @param {DataTransfer} transfer
 * @returns {Promise<File[]>}
 */
export async function droppedFiles(transfer) {
  // The list is emptied when the event handler first awaits, so everything is taken out of it before.
  const items = [...transfer.items].filter(({ kind }) => kind === "file").map((item) => item.webkitGetAsEntry() ?? item.getAsFile())
  /** @param {FileSystemEntry} entry @returns {Promise<File[]>} */
  const below = async (entry) => {
    if (entry.isFile) {
      return [await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject))]
    }
    const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader()
    const found = []
    for (;;) {
      /** @type {FileSystemEntry[]} */
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))
      if (some.length === 0) break
      found.push(...some)
    }
    return (await Promise.all(found.map(below))).flat()
  }
  const files = await Promise.all(items.map((item) => (item instanceof File ? [item] : item === null ? [] : below(item))))
  return files.flat()
}

export class Loader {
  /** @type {AbortController | undefined} */
  #work
  /** @type {(model: Model) => Promise<void>} */
  #onLoaded

  /** @param {(model: Model) => Promise<void>} onLoaded */
  constructor(onLoaded) {
    this.#onLoaded = onLoaded
    const folder = /** @type {HTMLInputElement} */ ($("folder"))
    $("load-tiny").addEventListener("click", () => this.load(tiny, "The embedded model"))
    $("choose-folder").addEventListener("click", () => folder.click())
    folder.addEventListener("change", () => {
      const files = [...(folder.files ?? [])]
      // Cleared, so that the same folder can be chosen again after it was repaired.
      folder.value = ""
      if (files.length > 0) this.load(files, "This folder")
    })
    $("url-form").addEventListener("submit", (event) => {
      event.preventDefault()
      const url = /** @type {HTMLInputElement} */ ($("url")).value.trim()
      if (url) this.load(url, url)
    })
    $("loading-cancel").addEventListener("click", () => this.#work?.abort())
    $("change").addEventListener("click", () => this.#open($("loader-body").hidden === true))
  }

  /** @param {boolean} open */
  #open(open) {
    $("loader-body").hidden = !open
    $("change").setAttribute("aria-expanded", String(open))
    $("change").textContent = open ? "Close" : "Change"
  }

  /**
   * @param {Parameters<typeof load>[0]} source
   * @param {string} name for the sentence that says what went wrong
   */
  async load(source, name) {
    if (this.#work) return
    this.#work = new AbortController()
    const { signal } = this.#work
    const open = !$("loader-body").hidden
    clearProblem()
    $("loader-body").hidden = true
    $("change").hidden = true
    $("loading").hidden = false
    $("loading-label").textContent = "Loading…"
    $("loading-bar").removeAttribute("value")
    $("loading-cancel").focus()
    try {
      const model = await load(source, { signal, onProgress: showProgress })
      this.#loaded(model)
      await this.#onLoaded(model)
    } catch (error) {
      $("loader-body").hidden = !open
      $("change").hidden = $("change").dataset.loaded === undefined
      if (!isAbort(error)) showProblem(`${name} could not be loaded.`, error)
      $(open ? "load-tiny" : "change").focus()
    } finally {
      this.#work = undefined
      $("loading").hidden = true
    }
  }

  /** @param {Model} model */
  #loaded(model) {
    const { name, parameters } = model.info()
    $("model-name").textContent = `${name} · ${countText(parameters)} parameters`
    $("change").dataset.loaded = ""
    $("change").hidden = false
    this.#open(false)
  }
}
