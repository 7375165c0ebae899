/** Sampling options: checked, defaulted, and laid out as the `sample` op wants them. */
import { OptionError } from "../errors.ts"
import { checkOptions, type OptionRule } from "../options.ts"
import type { GenerateOptions } from "./types.ts"

/** A generation's settings, complete. */
export interface Sampling {
  maxNewTokens: number
  minNewTokens: number
  doSample: boolean
  temperature: number
  topK: number
  topP: number
  minP: number
  repetitionPenalty: number
  /** Undefined: the caller draws one if it samples. */
  seed: bigint | undefined
  stop: readonly string[]
}

type Numeric = "maxNewTokens" | "minNewTokens" | "temperature" | "topK" | "topP" | "minP" | "repetitionPenalty"

const rules = {
  maxNewTokens: { type: "number", integer: true, min: 0 },
  minNewTokens: { type: "number", integer: true, min: 0 },
  temperature: { type: "number", min: 0 },
  topK: { type: "number", integer: true, min: 0 },
  topP: { type: "number", above: 0, max: 1 },
  minP: { type: "number", min: 0, max: 1 },
  repetitionPenalty: { type: "number", above: 0 },
} as const satisfies Record<Numeric, OptionRule>

const defaults: Record<Numeric, number> = {
  maxNewTokens: 256,
  minNewTokens: 0,
  temperature: 1,
  topK: 50,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
}

const table: Record<keyof GenerateOptions, OptionRule | OptionRule[]> = {
  ...rules,
  doSample: { type: "boolean" },
  seed: { type: "any" },
  stop: [{ type: "string" }, { type: "array" }],
  signal: { type: "signal" },
  stopOnAbort: { type: "boolean" },
  useGenerationConfig: { type: "boolean" },
}
const numeric = Object.keys(rules) as Numeric[]
const triggers = ["temperature", "topK", "topP", "minP"] as const

/** The numeric options that `generation_config.json` sets, under their names here. */
function fromFile(config: Readonly<Record<string, unknown>>): Partial<Record<Numeric, number>> {
  const inFile = (name: string): unknown => config[name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)] ?? undefined
  const found = Object.fromEntries(numeric.map((name) => [name, inFile(name)]))
  checkOptions("generation_config.json", found, rules)
  return found as Partial<Record<Numeric, number>>
}

function checkedSeed(seed: unknown): bigint | undefined {
  if (seed === undefined) return undefined
  const whole = typeof seed === "bigint" ? seed : Number.isSafeInteger(seed) ? BigInt(seed as number) : undefined
  if (whole === undefined || whole < 0n || whole >= 1n << 64n) {
    throw new OptionError("OPTION_RANGE", `Option seed is ${String(seed)}.`, {
      fix: "Give an integer in [0, 2^53) or a bigint in [0, 2^64).",
    })
  }
  return whole
}

function checkedStop(stop: unknown): readonly string[] {
  const list: readonly unknown[] = stop === undefined ? [] : Array.isArray(stop) ? stop : [stop]
  for (const item of list) {
    if (typeof item !== "string" || item === "") {
      throw new OptionError("OPTION_RANGE", `Option stop holds ${JSON.stringify(item) ?? String(item)}.`, {
        fix: "Give non-empty strings.",
      })
    }
  }
  return list as readonly string[]
}

/** Checks `options` and fills in defaults, from `generation_config.json` where that was asked for. */
export function resolveSampling(options: GenerateOptions | undefined, generationConfig: Readonly<Record<string, unknown>>): Sampling {
  checkOptions("generate", options, table)
  const given = options ?? {}
  const file = given.useGenerationConfig === true ? fromFile(generationConfig) : {}
  const numbers = Object.fromEntries(numeric.map((name) => [name, given[name] ?? file[name] ?? defaults[name]])) as Record<Numeric, number>
  if (numbers.minNewTokens > numbers.maxNewTokens) {
    throw new OptionError("OPTION_CONFLICT", `minNewTokens ${numbers.minNewTokens} is more than maxNewTokens ${numbers.maxNewTokens}.`, {
      fix: "Lower one or raise the other.",
    })
  }
  const greedy = numbers.temperature === 0
  const trigger = triggers.find((name) => given[name] !== undefined)
  if (given.doSample === false && trigger !== undefined && !greedy) {
    throw new OptionError("OPTION_CONFLICT", `doSample is false, but ${trigger} only matters when sampling.`, {
      fix: `Leave out one of the two.`,
    })
  }
  if (given.doSample === true && greedy) {
    throw new OptionError("OPTION_CONFLICT", "doSample is true, but temperature 0 is greedy.", {
      fix: "Give a temperature above 0, or leave out doSample.",
    })
  }
  const doSample =
    !greedy && (given.doSample ?? (trigger !== undefined || (given.useGenerationConfig === true && generationConfig.do_sample === true)))
  return { ...numbers, doSample, seed: checkedSeed(given.seed), stop: checkedStop(given.stop) }
}

/** A row of the `sampler` state: [temperature, topK, topP, minP, repetitionPenalty, doSample, minCounter, 0]. */
export function samplerRow(sampling: Sampling, counter: bigint): Float32Array {
  const { temperature, topK, topP, minP, repetitionPenalty, doSample, minNewTokens } = sampling
  return Float32Array.of(
    doSample ? temperature : 1,
    topK,
    topP,
    minP,
    repetitionPenalty,
    doSample ? 1 : 0,
    minNewTokens === 0 ? 0 : Number(counter) + minNewTokens,
    0,
  )
}

/** A row of the `rng` state: Philox key and counter, low words first. */
export function rngRow(seed: bigint, counter: bigint): Uint32Array {
  const words = new BigUint64Array([seed, counter])
  return new Uint32Array(words.buffer)
}

export function randomSeed(): bigint {
  const words = crypto.getRandomValues(new Uint32Array(2))
  // 53 bits: the seed can be printed, put into JSON and given again as a number.
  return BigInt((words[0] as number) + ((words[1] as number) & 0x1fffff) * 2 ** 32)
}

export function publicSeed(seed: bigint): number | bigint {
  return seed <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(seed) : seed
}

/** Ids that end a generation: `generation_config.json` first, else `config.json`. At most 16, the engine's list. */
export function eosIds(
  generationConfig: Readonly<Record<string, unknown>>,
  config: Readonly<Record<string, unknown>>,
  vocabSize: number,
): number[] {
  const value = generationConfig.eos_token_id ?? config.eos_token_id ?? []
  const ids: unknown[] = Array.isArray(value) ? value : [value]
  const usable = ids.filter((id): id is number => Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabSize)
  return [...new Set(usable)].slice(0, 16)
}
