/** Generations that end early, however they do: the session holds what was fed and handed out, and goes on from there. */
import { describe, expect, test } from "vitest"
import type { GenerateOptions, Piece } from "../../ts/run/types.ts"
import { open } from "../support/fake-engine.ts"
import { fed, long, tokensOf } from "../support/sessions.ts"

describe("a generation ended early", () => {
  const modes: [string, GenerateOptions][] = [
    ["greedy", {}],
    ["sampled", { temperature: 1, seed: 7 }],
    ["with a penalty", { repetitionPenalty: 1.7 }],
  ]
  describe.each(modes)("%s", (_name, options) => {
    test.each(Array.from({ length: 17 }, (_, i) => i + 1))("by break after %i pieces goes on as if it had not been", async (n) => {
      const model = await open()
      const whole = await fed(model)
      const expected = await tokensOf(whole, long(30, options))
      const session = await fed(model)
      const pieces: Piece[] = []
      for await (const piece of session.generate(long(30, options))) {
        pieces.push(piece)
        if (pieces.length === n) break
      }
      expect(session.tokens).toBe(40 + n)
      const { seed: _seed, ...unseeded } = options
      const rest = await tokensOf(session, long(30 - n, unseeded))
      expect([...pieces.map(({ token }) => token), ...rest]).toEqual(expected)
      expect(await session.save()).toEqual(await whole.save())
      await model.dispose()
    })
  })

  test("by an exception in the caller's loop", async () => {
    const model = await open()
    const expected = await tokensOf(await fed(model), long(20))
    const session = await fed(model)
    const seen: number[] = []
    const loop = async (): Promise<void> => {
      for await (const { token } of session.generate(long(20))) if (seen.push(token) === 11) throw new RangeError("of the caller")
    }
    await expect(loop()).rejects.toThrow(RangeError)
    expect([...seen, ...(await tokensOf(session, long(9)))]).toEqual(expected)
    await model.dispose()
  })

  test.each([1, 2, 5, 9, 12])("by abort after %i pieces, rejecting or ending", async (n) => {
    const model = await open()
    const expected = await tokensOf(await fed(model), long(20))
    for (const stopOnAbort of [false, true]) {
      const session = await fed(model)
      const abort = new AbortController()
      const generation = session.generate(long(20, { signal: abort.signal, stopOnAbort }))
      const seen: number[] = []
      const loop = async (): Promise<void> => {
        for await (const { token } of generation) if (seen.push(token) === n) abort.abort(new Error("enough"))
      }
      if (stopOnAbort) {
        await loop()
        expect(await generation.result()).toMatchObject({ finishReason: "abort", tokens: seen })
      } else await expect(loop()).rejects.toThrow("enough")
      expect(seen).toEqual(expected.slice(0, n))
      expect([...seen, ...(await tokensOf(session, long(20 - n)))]).toEqual(expected)
    }
    await model.dispose()
  })

  test.each([2, 3, 4])("by abort while the engine is in run %i", async (run) => {
    const abort = new AbortController()
    const reference = await open()
    const expected = await tokensOf(await fed(reference), long(40))
    const onRun = (count: number): void => {
      if (count === run) setImmediate(() => abort.abort(new Error("enough")))
    }
    const model = await open({ onRun })
    const session = await fed(model)
    const generation = session.generate(long(40, { signal: abort.signal }))
    const seen: number[] = []
    const loop = async (): Promise<void> => {
      for await (const { token } of generation) seen.push(token)
    }
    await expect(loop()).rejects.toThrow("enough")
    await expect(generation.result()).rejects.toThrow("enough")
    expect(session.tokens).toBe(40 + seen.length)
    expect([...seen, ...(await tokensOf(session, long(40 - seen.length)))]).toEqual(expected)
    await reference.dispose()
    await model.dispose()
  })

  test("before it began: aborted signals reject, or end with nothing", async () => {
    const model = await open()
    const session = await fed(model)
    const before = await session.save()
    const signal = AbortSignal.abort(new Error("early"))
    await expect(session.generate({ signal }).result()).rejects.toThrow("early")
    expect(await session.generate({ signal, stopOnAbort: true }).result()).toMatchObject({ finishReason: "abort", tokens: [], text: "" })
    await expect(session.feed([1], { signal })).rejects.toThrow("early")
    expect(await session.save()).toEqual(before)
    await model.dispose()
  })

  test("an abort after the end changes nothing", async () => {
    const model = await open()
    const abort = new AbortController()
    const generation = (await fed(model)).generate(long(3, { signal: abort.signal }))
    const result = await generation.result()
    abort.abort()
    expect(await generation.result()).toEqual(result)
    await model.dispose()
  })

  test("by a stop string that spans pieces: its tokens count, its text does not show", async () => {
    const model = await open()
    const whole = await fed(model)
    const reference = await whole.generate(long(30)).result()
    for (const at of [3, 8, 13]) {
      const stop = reference.text.slice(at, at + 3)
      const end = reference.text.indexOf(stop)
      const session = await fed(model)
      const pieces: Piece[] = []
      const generation = session.generate(long(30, { stop }))
      for await (const piece of generation) pieces.push(piece)
      const result = await generation.result()
      expect(result).toMatchObject({ finishReason: "stop", text: reference.text.slice(0, end), tokens: reference.tokens.slice(0, end + 3) })
      expect(pieces.map(({ text }) => text).join("")).toBe(result.text)
      expect(await tokensOf(session, long(27 - end))).toEqual(reference.tokens.slice(end + 3))
      expect(await session.save()).toEqual(await whole.save())
    }
    await model.dispose()
  })

  test("return() before the first piece runs nothing", async () => {
    const model = await open()
    const session = await fed(model)
    const generation = session.generate(long(5))
    await generation.return()
    expect(await generation.result()).toMatchObject({ tokens: [], finishReason: "abort" })
    expect(await tokensOf(session, long(5))).toHaveLength(5)
    await model.dispose()
  })
})
