/** The check that every public call makes of its options: names known, types right, values in range, before anything is computed. */
import { OptionError } from "./errors.ts"

/** What an option may be. Numbers are finite unless `infinite`; bounds are inclusive, `above` is exclusive. */
export type OptionRule =
  | { type: "number"; integer?: boolean; min?: number; max?: number; above?: number; infinite?: boolean }
  | { type: "string"; values?: readonly string[] }
  | { type: "boolean" | "function" | "object" | "array" | "signal" | "any" }
/** Allowed options of a call by name; several rules are alternatives. */
export type OptionTable = Readonly<Record<string, OptionRule | readonly OptionRule[]>>

const kindOf = (value: unknown): string => (value === null ? "null" : Array.isArray(value) ? "array" : typeof value)

/** Number of insertions, deletions, replacements and swaps of neighbors between two words. */
function editDistance(a: string, b: string): number {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1
      let best = Math.min((last[j] as number) + 1, (row[j - 1] as number) + 1, (last[j - 1] as number) + change)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, (before[j - 2] as number) + 1)
      row.push(best)
    }
    before = last
    last = row
  }
  return last[b.length] as number
}

/** The known name most like `name`, or undefined when none is near. Case, `_` and `-` do not count: `max_new_tokens` is `maxNewTokens`. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const plain = (text: string): string => text.toLowerCase().replace(/[_-]/g, "")
  let best: string | undefined
  let least = Math.max(2, Math.floor(name.length / 3)) + 1
  for (const candidate of known) {
    const distance = editDistance(plain(name), plain(candidate))
    if (distance < least) {
      least = distance
      best = candidate
    }
  }
  return best
}

function hasType(value: unknown, rule: OptionRule): boolean {
  if (rule.type === "any") return true
  if (rule.type === "signal") return value instanceof AbortSignal
  return kindOf(value) === rule.type
}

function inRange(value: unknown, rule: OptionRule): boolean {
  if (rule.type === "string") return rule.values === undefined || rule.values.includes(value as string)
  if (rule.type !== "number") return true
  const x = value as number
  const {
    integer = false,
    infinite = false,
    min = Number.NEGATIVE_INFINITY,
    max = Number.POSITIVE_INFINITY,
    above = Number.NEGATIVE_INFINITY,
  } = rule
  if (!Number.isFinite(x) && !infinite) return false
  return (
    x >= min &&
    x <= max &&
    (x > above || above === Number.NEGATIVE_INFINITY) &&
    (!integer || Number.isSafeInteger(x) || x === Number.POSITIVE_INFINITY)
  )
}

function describe(rule: OptionRule): string {
  if (rule.type === "string") return rule.values === undefined ? "a string" : rule.values.map((value) => `"${value}"`).join(" or ")
  if (rule.type === "signal") return "an AbortSignal"
  if (rule.type !== "number") return `${/^[aeo]/.test(rule.type) ? "an" : "a"} ${rule.type}`
  const bounds = [
    rule.above === undefined ? "" : ` above ${rule.above}`,
    rule.min === undefined ? "" : ` from ${rule.min}`,
    rule.max === undefined ? "" : ` up to ${rule.max}`,
  ]
  return `a ${rule.integer ? "whole " : ""}number${bounds.join("")}`
}

/** A value as an error shows it. */
function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  return typeof value === "object" || typeof value === "function" ? kindOf(value) : String(value)
}

/**
 * Checks `options` of the call `name` against `table`; undefined values count as not given.
 * @throws OptionError `OPTION_UNKNOWN` (with the nearest known name), `OPTION_TYPE` or `OPTION_RANGE`, naming option, value and what is
 *   allowed
 */
export function checkOptions(name: string, options: unknown, table: OptionTable): void {
  if (options === undefined) return
  if (kindOf(options) !== "object") {
    throw new OptionError("OPTION_TYPE", `${name} takes an object of options, not ${show(options)}.`, {
      fix: `Options: ${Object.keys(table).join(", ")}.`,
    })
  }
  for (const [option, value] of Object.entries(options as object)) {
    if (!Object.hasOwn(table, option)) {
      const near = nearest(option, Object.keys(table))
      throw new OptionError("OPTION_UNKNOWN", `${name} has no option ${JSON.stringify(option)}.`, {
        fix: near === undefined ? `Options: ${Object.keys(table).join(", ")}.` : `Did you mean ${near}?`,
      })
    }
    if (value === undefined) continue
    const rules = [table[option] as OptionRule | readonly OptionRule[]].flat() as OptionRule[]
    const typed = rules.filter((rule) => hasType(value, rule))
    if (typed.some((rule) => inRange(value, rule))) continue
    const code = typed.length === 0 ? "OPTION_TYPE" : "OPTION_RANGE"
    throw new OptionError(code, `${name}: ${option} cannot be ${show(value)}.`, { fix: `It is ${rules.map(describe).join(" or ")}.` })
  }
}
