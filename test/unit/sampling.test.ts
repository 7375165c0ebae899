/** Sampling options as product.md's table defines them, and what is written for the engine. */
import { describe, expect, test } from "vitest"
import { OptionError } from "../../ts/errors.ts"
import { eosIds, publicSeed, randomSeed, resolveSampling, rngRow, samplerRow } from "../../ts/run/sampling.ts"
import type { GenerateOptions } from "../../ts/run/types.ts"

const resolve = (options?: GenerateOptions, file: Record<string, unknown> = {}) => resolveSampling(options, file)
function codeOf(body: () => unknown): string {
  try {
    body()
  } catch (error) {
    if (error instanceof OptionError) return error.code
    throw error
  }
  return "none"
}

describe("defaults", () => {
  test("nothing given is greedy, 256 tokens", () => {
    expect(resolve()).toEqual({
      maxNewTokens: 256,
      minNewTokens: 0,
      doSample: false,
      temperature: 1,
      topK: 50,
      topP: 1,
      minP: 0,
      repetitionPenalty: 1,
      seed: undefined,
      stop: [],
    })
  })
  test.each(["temperature", "topK", "topP", "minP"] as const)("%s turns sampling on", (name) => {
    expect(resolve({ [name]: 1 }).doSample).toBe(true)
  })
  test("temperature 0 is greedy, beside other sampling options too", () => {
    expect(resolve({ temperature: 0 }).doSample).toBe(false)
    expect(resolve({ temperature: 0, topK: 5 }).doSample).toBe(false)
    expect(resolve({ temperature: 0, doSample: false }).doSample).toBe(false)
  })
  test("a seed or a penalty alone does not sample", () => {
    expect(resolve({ seed: 1, repetitionPenalty: 1.2 }).doSample).toBe(false)
  })
  test("undefined values count as not given", () => {
    expect(resolve({ temperature: undefined, topK: undefined }).doSample).toBe(false)
  })
})

describe("generation_config.json", () => {
  const file = { do_sample: true, temperature: 0.7, top_k: 20, max_new_tokens: 5, top_p: null }
  test("counts only when asked for", () => {
    expect(resolve({}, file)).toMatchObject({ doSample: false, maxNewTokens: 256 })
    expect(resolve({ useGenerationConfig: true }, file)).toMatchObject({
      doSample: true,
      temperature: 0.7,
      topK: 20,
      maxNewTokens: 5,
      topP: 1,
    })
  })
  test("what is given goes before it", () => {
    expect(resolve({ useGenerationConfig: true, topK: 3 }, file)).toMatchObject({ topK: 3, temperature: 0.7 })
    expect(resolve({ useGenerationConfig: true, doSample: false }, file).doSample).toBe(false)
  })
  test("a value that is none is refused", () => {
    expect(codeOf(() => resolve({ useGenerationConfig: true }, { temperature: "hot" }))).toBe("OPTION_TYPE")
  })
})

describe("refusals", () => {
  test.each([
    [{ temperature: -1 }, "OPTION_RANGE"],
    [{ temperature: Number.NaN }, "OPTION_RANGE"],
    [{ temperature: "1" }, "OPTION_TYPE"],
    [{ topK: 1.5 }, "OPTION_RANGE"],
    [{ topP: 0 }, "OPTION_RANGE"],
    [{ topP: 1.01 }, "OPTION_RANGE"],
    [{ minP: 2 }, "OPTION_RANGE"],
    [{ repetitionPenalty: 0 }, "OPTION_RANGE"],
    [{ maxNewTokens: -1 }, "OPTION_RANGE"],
    [{ maxNewTokens: 1, minNewTokens: 2 }, "OPTION_CONFLICT"],
    [{ doSample: false, temperature: 0.5 }, "OPTION_CONFLICT"],
    [{ doSample: false, topP: 0.5 }, "OPTION_CONFLICT"],
    [{ doSample: true, temperature: 0 }, "OPTION_CONFLICT"],
    [{ seed: -1 }, "OPTION_RANGE"],
    [{ seed: 0.5 }, "OPTION_RANGE"],
    [{ seed: 2 ** 53 }, "OPTION_RANGE"],
    [{ seed: 1n << 64n }, "OPTION_RANGE"],
    [{ stop: [""] }, "OPTION_RANGE"],
    [{ stop: [1] }, "OPTION_RANGE"],
    [{ stop: 1 }, "OPTION_TYPE"],
    [{ signal: {} }, "OPTION_TYPE"],
    [{ max_new_tokens: 3 }, "OPTION_UNKNOWN"],
  ])("%o", (options, code) => {
    expect(codeOf(() => resolve(options as GenerateOptions))).toBe(code)
  })
  test("an unknown option suggests the nearest name", () => {
    expect(() => resolve({ maxNewToken: 3 } as GenerateOptions)).toThrow(/maxNewTokens/)
  })
})

describe("for the engine", () => {
  test("greedy rows ask for no temperature", () => {
    expect([...samplerRow(resolve({ temperature: 0 }), 0n)]).toEqual([1, 50, 1, 0, 1, 0, 0, 0])
  })
  test("the least counter is relative to the row's own", () => {
    expect(samplerRow(resolve({ minNewTokens: 3 }), 10n)[6]).toBe(13)
  })
  test("seed and counter by words", () => {
    expect([...rngRow(0x0123456789abcdefn, 1n << 33n)]).toEqual([0x89abcdef, 0x01234567, 0, 2])
    expect(resolve({ seed: (1n << 64n) - 1n }).seed).toBe((1n << 64n) - 1n)
  })
  test("random seeds are printable numbers and differ", () => {
    const seeds = Array.from({ length: 20 }, () => publicSeed(randomSeed()))
    expect(seeds.every(Number.isSafeInteger)).toBe(true)
    expect(new Set(seeds).size).toBe(20)
  })
  test("eos: the generation's before the model's, a number or a list, only ids that exist", () => {
    expect(eosIds({ eos_token_id: [2, 3, 3] }, { eos_token_id: 0 }, 10)).toEqual([2, 3])
    expect(eosIds({}, { eos_token_id: 0 }, 10)).toEqual([0])
    expect(eosIds({ eos_token_id: 99 }, {}, 10)).toEqual([])
    expect(eosIds({}, {}, 10)).toEqual([])
  })
})
