// @ts-check
// Light or dark: what the system prefers until somebody chooses. Pictures are redrawn by the event "themechange".
import { $ } from "./dom.js"

const dark = matchMedia("(prefers-color-scheme: dark)")

/** @returns {"light" | "dark"} */
export function theme() {
  const chosen = document.documentElement.dataset.theme
  return chosen === "light" || chosen === "dark" ? chosen : dark.matches ? "dark" : "light"
}

function changed() {
  $("theme").textContent = theme() === "dark" ? "Light theme" : "Dark theme"
  document.dispatchEvent(new Event("themechange"))
}

/** @param {string} value */
function remember(value) {
  try {
    localStorage.setItem("theme", value)
  } catch {
    // Storage may be switched off; the choice then holds for this visit.
  }
}

export function setUpTheme() {
  try {
    const stored = localStorage.getItem("theme")
    if (stored !== null) document.documentElement.dataset.theme = stored
  } catch {
    // The same: without storage the system decides.
  }
  $("theme").addEventListener("click", () => {
    const next = theme() === "dark" ? "light" : "dark"
    document.documentElement.dataset.theme = next
    remember(next)
    changed()
  })
  dark.addEventListener("change", changed)
  changed()
}
