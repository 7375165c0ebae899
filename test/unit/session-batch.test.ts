/** Prompts of a model rather than of a session: batches, bad ids, empty prompts, broken weights; on the hashing engine. */
import { describe, expect, test } from "vitest"
import { CheckpointError, DeviceError, MemoryLimitError, OptionError, TokenizerError } from "../../ts/errors.ts"
import type { Model } from "../../ts/run/model.ts"
import type { GenerateOptions, Piece, Prompt } from "../../ts/run/types.ts"
import { fakeBackend } from "../support/fake-engine.ts"
import { letters, openFamily } from "../support/models.ts"

const open = (parts: Parameters<typeof openFamily>[2] = {}): Promise<Model> =>
  openFamily("mamba", fakeBackend(), { tokenizer: letters, ...parts })
const prompts: Prompt[] = [[5, 6, 7], "hello", [], Array.from({ length: 700 }, (_, i) => i % 300), new Int32Array([9])]

describe("a ragged batch", () => {
  test.each<[string, GenerateOptions]>([
    ["greedy", {}],
    ["sampled", { temperature: 1, seed: 5 }],
    ["with stop strings", { stop: ["a", "xy"] }],
    ["of one token", { maxNewTokens: 1 }],
  ])("%s gives what each prompt gives alone", async (_name, options) => {
    const model = await open()
    const all = { maxNewTokens: 25, ...options }
    const results = await model.complete(prompts, all)
    const alone = []
    for (const prompt of prompts) alone.push(await model.complete(prompt, all))
    expect(results).toEqual(alone)
    await model.dispose()
  })

  test("pieces carry their row and add up to the results", async () => {
    const model = await open()
    const generation = model.generate(prompts, { maxNewTokens: 20, stop: "b" })
    const pieces: Piece[] = []
    for await (const piece of generation) pieces.push(piece)
    const results = await generation.result()
    for (const [row, result] of results.entries()) {
      const own = pieces.filter((piece) => piece.row === row)
      expect(own.map(({ token }) => token)).toEqual(result.tokens)
      expect(own.map(({ index }) => index)).toEqual([...result.tokens.keys()])
      expect(own.map(({ text }) => text).join("")).toBe(result.text)
    }
    await model.dispose()
  })

  test("runs in groups when memory is short, or rows are many, with the same results", async () => {
    const many = Array.from({ length: 70 }, (_, i) => [i, i + 1, i + 2].slice(0, 1 + (i % 3)))
    const model = await open()
    const expected = await model.complete(many, { maxNewTokens: 4 })
    const small = await open({ memoryLimit: 1_500_000 })
    expect(await small.complete(many, { maxNewTokens: 4 })).toEqual(expected)
    for (const i of [0, 63, 64, 69]) expect(await model.complete(many[i] as number[], { maxNewTokens: 4 })).toEqual(expected[i])
    await model.dispose()
    await small.dispose()
    const none = await open({ memoryLimit: 100_000 })
    await expect(none.complete(many)).rejects.toThrow(MemoryLimitError)
    await none.dispose()
  })

  test("an abort ends all rows", async () => {
    const model = await open()
    const abort = new AbortController()
    const generation = model.generate(prompts, { maxNewTokens: 2000, minNewTokens: 2000, signal: abort.signal, stopOnAbort: true })
    for (let i = 0; i < 7; i++) await generation.next()
    abort.abort()
    const results = await generation.result()
    expect(results.map(({ finishReason }) => finishReason)).toEqual(prompts.map(() => "abort"))
    expect(results.reduce((sum, { tokens }) => sum + tokens.length, 0)).toBe(7)
    const rejecting = model.generate(prompts, { signal: abort.signal })
    await expect(rejecting.result()).rejects.toBe(abort.signal.reason)
    await model.dispose()
  })
})

describe("results", () => {
  test("usage, seed, logprobs", async () => {
    const model = await open()
    const greedy = await model.complete([5, 6, 7], { maxNewTokens: 4, minNewTokens: 4 })
    expect(greedy.usage).toEqual({ promptTokens: 3, completionTokens: 4 })
    expect(greedy.seed).toBeUndefined()
    expect(greedy.logprobs.every((logprob) => logprob <= 0)).toBe(true)
    const drawn = await model.complete([5, 6, 7], { temperature: 1, maxNewTokens: 9 })
    expect(drawn.seed).toBeTypeOf("number")
    expect(await model.complete([5, 6, 7], { temperature: 1, maxNewTokens: 9, seed: drawn.seed as number })).toEqual(drawn)
    const other = await model.complete([5, 6, 7], { temperature: 1, maxNewTokens: 9 })
    expect(other.tokens).not.toEqual(drawn.tokens)
    await model.dispose()
  })

  test("maxNewTokens 0 generates nothing", async () => {
    const model = await open()
    expect(await model.complete([5], { maxNewTokens: 0 })).toMatchObject({ tokens: [], text: "", finishReason: "length" })
    await model.dispose()
  })
})

describe("bad input", () => {
  test.each<[string, unknown]>([
    ["above the vocabulary", [1, 320]],
    ["negative", [-1]],
    ["not whole", [1.5]],
    ["not a number", [1, Number.NaN]],
    ["null", [1, null]],
  ])("ids: %s", async (_name, ids) => {
    const model = await open()
    expect(() => model.generate(ids as number[])).toThrow(OptionError)
    await expect(model.complete(ids as number[])).rejects.toThrow(OptionError)
    for (const name of ["score", "embed", "forward"] as const) await expect(model[name](ids as number[])).rejects.toThrow(OptionError)
    await expect(model.session().feed(ids as number[])).rejects.toThrow(OptionError)
    await model.dispose()
  })

  test.each<[string, unknown]>([
    ["undefined", undefined],
    ["null", null],
    ["a number", 3],
    ["an object", { text: "a" }],
    ["a batch of objects", [{ text: "a" }]],
  ])("prompts: %s", async (_name, prompt) => {
    const model = await open()
    await expect(model.complete(prompt as string)).rejects.toThrow(OptionError)
    await expect(model.score(prompt as string)).rejects.toThrow(OptionError)
    await expect(model.session().feed(prompt as string)).rejects.toThrow(OptionError)
    await model.dispose()
  })

  test("streams that mix text and ids, or yield neither", async () => {
    const model = await open()
    for (const stream of [["a", 1], [1, "a"], [[1], "a"], [{}], [null]])
      await expect(model.session().feed(stream as string[])).rejects.toThrow(OptionError)
    await model.dispose()
  })

  test("an empty prompt starts from bos, and without one is refused", async () => {
    const model = await open()
    expect(await model.complete([], { maxNewTokens: 5 })).toEqual(await model.complete([1], { maxNewTokens: 5 }))
    expect(await model.complete("", { maxNewTokens: 5 })).toEqual(await model.complete([1], { maxNewTokens: 5 }))
    const session = model.session()
    const result = await session.generate({ maxNewTokens: 5 }).result()
    expect(result).toEqual(await model.complete([1], { maxNewTokens: 5 }))
    expect(session.tokens).toBe(6)
    expect(await model.session().logits()).toHaveLength(320)
    await model.dispose()

    const lost = await open({ config: { bos_token_id: null } })
    await expect(lost.complete([])).rejects.toThrow(/bos_token_id/)
    await expect(lost.session().generate().result()).rejects.toThrow(OptionError)
    await expect(lost.session().logits()).rejects.toThrow(OptionError)
    await lost.dispose()
  })

  test("empty input has no score, vector or logits", async () => {
    const model = await open()
    for (const call of [model.score(""), model.score([]), model.embed(""), model.forward([])])
      await expect(call).rejects.toThrow(OptionError)
    await model.dispose()
  })

  test("a start that fails leaves a fresh session fresh", async () => {
    const model = await open()
    const session = model.session()
    await expect(session.generate({ signal: AbortSignal.abort() }).result()).rejects.toThrow()
    await session.generate({ maxNewTokens: 0 }).result()
    expect(session.tokens).toBe(0)
    await model.dispose()
  })

  test("without a tokenizer ids work and text is refused", async () => {
    const model = await open({ tokenizer: null })
    expect(await model.complete([5], { maxNewTokens: 3 })).toMatchObject({ text: "" })
    expect(() => model.tokenizer).toThrow(TokenizerError)
    for (const call of [
      model.complete("a"),
      model.score("a"),
      model.embed("a"),
      model.session().feed("a"),
      model.complete([5], { stop: "x" }),
    ]) {
      await expect(call).rejects.toThrow(TokenizerError)
    }
    await model.dispose()
  })

  test("unknown options name the nearest", async () => {
    const model = await open()
    await expect(model.complete("a", { max_new_tokens: 3 } as GenerateOptions)).rejects.toThrow(/maxNewTokens/)
    await expect(model.session().feed("a", { onprogress: () => {} } as object)).rejects.toThrow(/onProgress/)
    await expect(model.forward([1], { hiddenState: true } as object)).rejects.toThrow(/hiddenStates/)
    await expect(model.forward([1], { capture: ["delta"] })).rejects.toThrow(/dt, B, C/)
    await expect(model.embed("a", { pooling: "max" } as object)).rejects.toThrow(OptionError)
    await model.dispose()
  })

  test("more than the memory limit is refused before anything is allocated", async () => {
    const backend = fakeBackend()
    const model = await openFamily("mamba", backend, { memoryLimit: 1_000_000 })
    const error = await model.forward(new Int32Array(100_000), { hiddenStates: true }).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(MemoryLimitError)
    expect(error).toMatchObject({ needed: expect.any(Number), limit: 1_000_000, largest: "logits" })
    expect((error as MemoryLimitError).needed).toBeGreaterThan(100_000 * 320 * 4)
    expect(backend.engine?.log.filter((call) => call === "load" || call === "state")).toEqual([])
    await model.dispose()
  })
})

describe("a logit that is not finite", () => {
  const find = async (options: { damaged: string | null }): Promise<unknown> => {
    const model = await openFamily("mamba", fakeBackend({ ...options, nanAfter: 6 }), { tokenizer: letters })
    const broken = model.session()
    await broken.feed([1, 2, 3])
    const pieces: Piece[] = []
    const loop = async (): Promise<void> => {
      for await (const piece of broken.generate({ maxNewTokens: 20, minNewTokens: 20 })) pieces.push(piece)
    }
    const error = await loop().catch((e: unknown) => e)
    expect(pieces).toHaveLength(3)
    expect(broken.tokens).toBe(6)
    await expect(broken.logits()).rejects.toThrow((error as Error).message)
    expect(broken.tokens).toBe(6)
    await model.dispose()
    return error
  }
  test("names the damaged tensor", async () => {
    const error = await find({ damaged: "backbone.layers.1.mixer.D" })
    expect(error).toBeInstanceOf(CheckpointError)
    expect(error).toMatchObject({ code: "CHECKPOINT_NON_FINITE", message: expect.stringContaining("backbone.layers.1.mixer.D") })
  })
  test("is the device's when every weight is finite", async () => {
    expect(await find({ damaged: null })).toBeInstanceOf(DeviceError)
  })
})
