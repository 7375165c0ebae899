// @ts-check
// Colors for numbers. Lightness runs one way (or away from the middle), so that the order can be read without telling hues apart; the
// diverging pair is blue and orange, which every kind of color vision keeps apart.

/** @typedef {[number, number, number]} Rgb */
/** @typedef {"sequential" | "diverging"} Kind */

const stops = {
  light: {
    sequential: ["#f7f4ea", "#d5e6d3", "#8ec5c2", "#3d8fb3", "#23588f", "#172a5c"],
    diverging: ["#8a3b00", "#c9701c", "#ecb87a", "#f7f4ea", "#93bfdc", "#3a7fb5", "#123f75"],
  },
  dark: {
    sequential: ["#1d2128", "#23405f", "#1f6f8b", "#3da39a", "#9dd08a", "#f6efa6"],
    diverging: ["#ffc98a", "#d98230", "#7a4a1f", "#1d2128", "#28506f", "#4a97cf", "#b5dcff"],
  },
}

/** @param {string} hex @returns {Rgb} */
function rgb(hex) {
  const part = (/** @type {number} */ at) => Number.parseInt(hex.slice(at, at + 2), 16)
  return [part(1), part(3), part(5)]
}

/**
 * Color of `t` in [0, 1]; values outside take the end's.
 * @param {"light" | "dark"} theme
 * @param {Kind} kind
 * @param {number} t
 * @returns {Rgb}
 */
export function colorOf(theme, kind, t) {
  const colors = stops[theme][kind]
  const place = Math.min(1, Math.max(0, t)) * (colors.length - 1)
  const at = Math.min(Math.floor(place), colors.length - 2)
  const [from, to] = [rgb(colors[at] ?? ""), rgb(colors[at + 1] ?? "")]
  const mix = (/** @type {0 | 1 | 2} */ i) => Math.round(from[i] + (to[i] - from[i]) * (place - at))
  return [mix(0), mix(1), mix(2)]
}

/** The scale as a CSS gradient, for the legend. @param {"light" | "dark"} theme @param {Kind} kind */
export function gradient(theme, kind) {
  return `linear-gradient(to right, ${stops[theme][kind].join(", ")})`
}
