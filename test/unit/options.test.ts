import { describe, expect, it } from "vitest"
import { OptionError } from "../../ts/errors.ts"
import { checkOptions, nearest, type OptionTable } from "../../ts/options.ts"

const table: OptionTable = {
  maxNewTokens: { type: "number", integer: true, min: 0 },
  topP: { type: "number", above: 0, max: 1 },
  limit: { type: "number", min: 1, infinite: true },
  backend: { type: "string", values: ["auto", "native"] },
  model: { type: "string" },
  stop: [{ type: "string" }, { type: "array" }],
  quiet: { type: "boolean" },
  onProgress: { type: "function" },
  signal: { type: "signal" },
  anything: { type: "any" },
  extra: { type: "object" },
}

function refusal(options: unknown): OptionError {
  let error: unknown
  try {
    checkOptions("generate", options, table)
  } catch (caught) {
    error = caught
  }
  expect(error).toBeInstanceOf(OptionError)
  expect((error as OptionError).message).toContain("generate")
  return error as OptionError
}

describe("options", () => {
  it.each([
    undefined,
    {},
    { maxNewTokens: 0, topP: 1, limit: Number.POSITIVE_INFINITY, backend: "auto", model: "", stop: "a", quiet: false },
    { stop: ["a"], onProgress: () => {}, signal: new AbortController().signal, anything: null, extra: {}, maxNewTokens: undefined },
    Object.create(null),
  ])("that are right pass (%#)", (options) => {
    expect(() => checkOptions("generate", options, table)).not.toThrow()
  })

  it.each([
    ["maxNewToken", "maxNewTokens"],
    ["max_new_tokens", "maxNewTokens"],
    ["max-new-tokens", "maxNewTokens"],
    ["MAXNEWTOKENS", "maxNewTokens"],
    ["top_p", "topP"],
    ["tpoP", "topP"],
    ["backnd", "backend"],
    ["signla", "signal"],
  ])("%s is unknown, and %s is suggested", (given, meant) => {
    const error = refusal({ [given]: 1 })
    expect(error.code).toBe("OPTION_UNKNOWN")
    expect(error.message).toContain(`"${given}"`)
    expect(error.fix).toBe(`Did you mean ${meant}?`)
  })

  it("nothing is suggested for what is like nothing; the known names are listed", () => {
    expect(refusal({ wavelength: 1 }).fix).toContain("maxNewTokens, topP")
    expect(refusal({ constructor: 1 }).code).toBe("OPTION_UNKNOWN")
    expect(refusal(JSON.parse('{"__proto__": 1}')).code).toBe("OPTION_UNKNOWN")
  })

  it.each([
    [{ maxNewTokens: "5" }, 'maxNewTokens cannot be "5"', "a whole number from 0"],
    [{ maxNewTokens: null }, "maxNewTokens cannot be null", "a whole number"],
    [{ maxNewTokens: 5n }, "maxNewTokens cannot be 5", "a whole number"],
    [{ quiet: 1 }, "quiet cannot be 1", "a boolean"],
    [{ stop: 1 }, "stop cannot be 1", "a string or an array"],
    [{ onProgress: "x".repeat(100) }, "x…", "a function"],
    [{ signal: {} }, "signal cannot be object", "an AbortSignal"],
    [{ extra: [] }, "extra cannot be array", "an object"],
  ])("the wrong type is named with what is allowed (%#)", (options, message, fix) => {
    const error = refusal(options)
    expect(error.code).toBe("OPTION_TYPE")
    expect(error.message).toContain(message)
    expect(error.fix).toContain(fix)
  })

  it.each([
    [{ maxNewTokens: -1 }, "a whole number from 0"],
    [{ maxNewTokens: 1.5 }, "a whole number from 0"],
    [{ maxNewTokens: 2 ** 53 }, "a whole number from 0"],
    [{ maxNewTokens: Number.NaN }, "a whole number from 0"],
    [{ maxNewTokens: Number.POSITIVE_INFINITY }, "a whole number from 0"],
    [{ topP: 0 }, "a number above 0 up to 1"],
    [{ topP: 1.1 }, "a number above 0 up to 1"],
    [{ limit: 0.5 }, "a number from 1"],
    [{ limit: Number.NaN }, "a number from 1"],
    [{ backend: "gpu" }, '"auto" or "native"'],
  ])("a value out of range is named with what is allowed (%#)", (options, fix) => {
    const error = refusal(options)
    expect(error.code).toBe("OPTION_RANGE")
    expect(error.fix).toContain(fix)
  })

  it.each([5, "text", null, [], () => {}])("an argument that is no object is refused (%#)", (options) => {
    expect(refusal(options).code).toBe("OPTION_TYPE")
  })

  it("the nearest of several names is the first of the closest", () => {
    expect(nearest("modle", ["model", "mode", "models"])).toBe("model")
    expect(nearest("modle", ["mode", "model"])).toBe("mode")
    expect(nearest("modes", ["model", "mode"])).toBe("model")
    expect(nearest("backen", ["threads", "backends", "backend"])).toBe("backend")
    expect(nearest("x", ["threads"])).toBeUndefined()
    expect(nearest("", [])).toBeUndefined()
  })
})
