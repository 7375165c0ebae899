// @ts-check

/** Median, extremes and number of measurements, to four digits. @param {readonly number[]} values */
export function summary(values) {
  const s = [...values].sort((a, b) => a - b)
  const middle = s.length >> 1
  const [lower, upper] = /** @type {[number, number]} */ ([s[middle - 1], s[middle]])
  const median = s.length % 2 ? upper : (lower + upper) / 2
  return {
    median: Number(/** @type {number} */ (median).toPrecision(4)),
    min: Number(/** @type {number} */ (s[0]).toPrecision(4)),
    max: Number(/** @type {number} */ (s.at(-1)).toPrecision(4)),
    n: s.length,
  }
}
