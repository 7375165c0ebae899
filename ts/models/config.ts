/** Reading `config.json`: every field is checked before anything is computed from it. */
import { CheckpointError } from "../errors.ts"

export type Config = Readonly<Record<string, unknown>>

const show = (value: unknown): string => (typeof value === "number" ? String(value) : (JSON.stringify(value) ?? String(value)))

/** Refuses a field: its value, why, and what to do. */
export function refuse(field: string, value: unknown, reason: string, fix: string): CheckpointError {
  return new CheckpointError("CHECKPOINT_FIELD", `config.json: ${field} is ${show(value)}, ${reason}.`, { fix })
}

const again = "Use the config.json that belongs to the weights."

/** The fields of an object, each with the value that stands for an absent one. `prefix` names the object in messages. */
export class Fields {
  readonly #config: Config
  readonly #prefix: string

  constructor(config: Config, prefix: string = "") {
    this.#config = config
    this.#prefix = prefix
  }

  has(name: string): boolean {
    return this.#config[name] !== undefined
  }

  #read<T>(name: string, fallback: T, fits: (value: unknown) => boolean, wanted: string): T {
    const value = this.#config[name]
    if (value === undefined) return fallback
    if (!fits(value)) throw refuse(this.#prefix + name, value, `not ${wanted}`, again)
    return value as T
  }

  /** A whole number from 1 to `most`. */
  size(name: string, fallback: number, most: number = Number.MAX_SAFE_INTEGER): number {
    const wanted = most === Number.MAX_SAFE_INTEGER ? "a whole number from 1" : `a whole number from 1 to ${most}`
    return this.#read(name, fallback, (value) => Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= most, wanted)
  }

  positive(name: string, fallback: number): number {
    return this.#read(name, fallback, (value) => typeof value === "number" && value > 0 && value < Infinity, "a positive number")
  }

  flag(name: string, fallback: boolean): boolean {
    return this.#read(name, fallback, (value) => typeof value === "boolean", "true or false")
  }

  /** A nested object; absent and null are empty. */
  object(name: string): Config {
    const isObject = (value: unknown): boolean => typeof value === "object" && !Array.isArray(value)
    return this.#read<Config | null>(name, {}, isObject, "an object") ?? {}
  }

  /** Throws unless the field is absent or one of `values`. */
  only(name: string, values: readonly unknown[], reason: string, fix: string): void {
    const value = this.#config[name]
    if (value === undefined || values.some((allowed) => show(allowed) === show(value))) return
    throw refuse(this.#prefix + name, value, reason, fix)
  }

  /** Throws unless the field is absent or says what other fields say. */
  agrees(name: string, value: number, others: string): void {
    const found = this.#config[name]
    if (found === undefined || found === null || found === value) return
    throw refuse(this.#prefix + name, found, `but ${others} ${value}`, `Make the two agree. ${again}`)
  }
}
