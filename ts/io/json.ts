/**
 * JSON as checkpoints hold it. Two needs that `JSON.parse` alone does not meet: a header must not name a thing twice (the parser keeps the
 * last one silently), and configurations written by Python may contain `Infinity` and `NaN`.
 */

const quote = 0x22
const backslash = 0x5c

/**
 * Index after the string that starts at `at` (a quote). A scan by hand: a regular expression would exhaust its stack on a string of
 * megabytes.
 */
function skipString(text: string, at: number): number {
  let i = at + 1
  while (i < text.length && text.charCodeAt(i) !== quote) i += text.charCodeAt(i) === backslash ? 2 : 1
  return i + 1
}

/** The first key that some object of this valid JSON text holds twice, or undefined. */
export function duplicateKey(text: string): string | undefined {
  const open: (Set<string> | null)[] = []
  let last: string | undefined
  for (let i = 0; i < text.length; ) {
    const c = text[i]
    if (c === '"') {
      const end = skipString(text, i)
      last = text.slice(i, end)
      i = end
      continue
    }
    if (c === "{") open.push(new Set())
    else if (c === "[") open.push(null)
    else if (c === "}" || c === "]") open.pop()
    else if (c === ":" && last !== undefined) {
      const key = JSON.parse(last) as string
      const keys = open[open.length - 1]
      if (keys?.has(key)) return key
      keys?.add(key)
    }
    i++
  }
  return undefined
}

/** Stands for NaN, which no JSON number can express, between the rewriting and the parser. */
const nanMark = "\u0000NaN"

/** `JSON.parse` that also reads Python's `NaN`, `Infinity` and `-Infinity`. Throws SyntaxError. */
export function parseLenientJson(text: string): unknown {
  let out = ""
  let from = text.charCodeAt(0) === 0xfeff ? 1 : 0
  let sawNaN = false
  const replace = (at: number, length: number, by: string): number => {
    out += text.slice(from, at) + by
    from = at + length
    return from
  }
  for (let i = from; i < text.length; ) {
    if (text.charCodeAt(i) === quote) i = skipString(text, i)
    // A number beyond the range of a double reads as infinity, and the sign before it stays.
    else if (text.startsWith("Infinity", i)) i = replace(i, 8, "1e999")
    else if (text.startsWith("NaN", i)) {
      i = replace(i, 3, JSON.stringify(nanMark))
      sawNaN = true
    } else i++
  }
  out += text.slice(from)
  return JSON.parse(out, sawNaN ? (_key, value: unknown) => (value === nanMark ? Number.NaN : value) : undefined)
}
