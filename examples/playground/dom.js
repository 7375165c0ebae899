// @ts-check
// What every part of the page needs of the document: elements by id, numbers for people, one place for errors.

/**
 * The element of that id.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function $(id) {
  return /** @type {T} */ (document.getElementById(id))
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  made.append(...children)
  return made
}

const units = ["B", "kB", "MB", "GB", "TB"]

/** @param {number} bytes */
export function bytesText(bytes) {
  let unit = 0
  let value = bytes
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : Number(value.toPrecision(value >= 9.95 ? 3 : 2))} ${units[unit]}`
}

/** @param {number} count */
export function countText(count) {
  return Math.round(count).toLocaleString("en")
}

/** @returns {Promise<void>} resolves once the page had its turn, so that long arithmetic does not hold a frame up */
export function breathe() {
  return new Promise((resolve) => setTimeout(resolve))
}

/**
 * Shows a refusal: what could not be done, why, and the way out. Errors of statespace carry `fix`; their message ends with it.
 * @param {string} title
 * @param {unknown} error
 */
export function showProblem(title, error) {
  const { message = String(error), fix = "", code = "" } = /** @type {{ message?: string, fix?: string, code?: string }} */ (error ?? {})
  const reason = fix !== "" && message.endsWith(fix) ? message.slice(0, -fix.length).trim() : message
  const close = element("button", { type: "button", class: "plain" }, "Dismiss")
  close.addEventListener("click", clearProblem)
  const heading = element("p", { class: "problem-title" }, title, ...(code ? [" ", element("code", {}, String(code))] : []))
  const words = [heading, element("p", {}, reason), ...(fix ? [element("p", { class: "fix" }, fix)] : [])]
  $("problem").replaceChildren(element("div", {}, ...words), close)
  $("problem").hidden = false
}

export function clearProblem() {
  $("problem").hidden = true
  $("problem").replaceChildren()
}

/**
 * An abort that the user asked for is not a problem.
 * @param {unknown} error
 */
export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError"
}
