/** What a session holds, however its calls end: on an engine whose model is a hash, so that a wrong state shows in the next token. */
import { describe, expect, test } from "vitest"
import { DisposedError, OptionError, SessionBusyError } from "../../ts/errors.ts"
import type { Model } from "../../ts/run/model.ts"
import type { Session } from "../../ts/run/session.ts"
import type { GenerateOptions, Piece } from "../../ts/run/types.ts"
import { type FakeOptions, fakeBackend } from "../support/fake-engine.ts"
import { letters, openFamily } from "../support/models.ts"

const open = async (options?: FakeOptions): Promise<Model> => openFamily("mamba", fakeBackend(options), { tokenizer: letters })
const prompt = Array.from({ length: 40 }, (_, i) => (i * 37) % 320)
/** No eos: every generation has the length it asks for. */
const long = (n: number, more: GenerateOptions = {}): GenerateOptions => ({ maxNewTokens: n, minNewTokens: n, ...more })
const tokensOf = async (session: Session, options: GenerateOptions): Promise<number[]> => (await session.generate(options).result()).tokens

async function fed(model: Model, ids: number[] = prompt): Promise<Session> {
  const session = model.session()
  await session.feed(ids)
  return session
}

describe("feeding", () => {
  test.each([1, 2, 15, 511, 512, 513, 514, 1023, 1024, 1025, 1026, 3000])(
    "%i tokens: at once, in parts and one by one are the same",
    async (n) => {
      const model = await open()
      const ids = Array.from({ length: n }, (_, i) => (i * i + 3) % 320)
      const whole = await fed(model, ids)
      const parts = model.session()
      for (let at = 0; at < n; at += 700) await parts.feed(ids.slice(at, at + 700))
      const streamed = model.session()
      await streamed.feed(ids.values())
      expect([whole.tokens, parts.tokens, streamed.tokens]).toEqual([n, n, n])
      const logits = await whole.logits()
      expect(await parts.logits()).toEqual(logits)
      expect(await streamed.logits()).toEqual(logits)
      expect(await parts.save()).toEqual(await whole.save())
      await model.dispose()
    },
  )

  test("nothing changes nothing", async () => {
    const model = await open()
    const session = await fed(model)
    await session.feed([])
    await session.feed("")
    expect(session.tokens).toBe(40)
    await model.dispose()
  })

  test("that fails half-way leaves the session as it was", async () => {
    const model = await open()
    const session = await fed(model)
    const before = await (await session.fork()).save()
    const ids = Array.from({ length: 2000 }, () => 5)
    await expect(session.feed([...ids, 320])).rejects.toThrow(OptionError)
    await expect(
      session.feed(
        (async function* () {
          yield ids
          throw new RangeError("of the caller")
        })(),
      ),
    ).rejects.toThrow(RangeError)
    const abort = new AbortController()
    const loaded: number[] = []
    const onProgress = (progress: { loaded: number }): void => {
      loaded.push(progress.loaded)
      if (loaded.length === 2) abort.abort(new Error("enough"))
    }
    await expect(session.feed(ids, { signal: abort.signal, onProgress })).rejects.toThrow("enough")
    expect(loaded).toEqual([512, 1024].map((n) => expect.closeTo(n, -1)))
    expect(await session.save()).toEqual(before)
    await model.dispose()
  })
})

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

describe("eos", () => {
  test("is the last token, has no text, and the session goes on behind it", async () => {
    const model = await open()
    const free = await fed(model)
    const { tokens } = await free.generate(long(400)).result()
    const session = await fed(model)
    const result = await session.generate({ maxNewTokens: 4000 }).result()
    expect(result.finishReason).toBe("eos")
    expect(result.tokens.at(-1)).toBe(2)
    expect(result.text).toBe(letters.decode(result.tokens.slice(0, -1)))
    expect(tokens.includes(2)).toBe(false)
    expect(session.tokens).toBe(40 + result.tokens.length)
    expect(await tokensOf(session, long(3))).toHaveLength(3)
    await model.dispose()
  })
})

describe("save, restore and fork", () => {
  test("go on exactly", async () => {
    const model = await open()
    const session = await fed(model)
    await tokensOf(session, long(5, { temperature: 1, seed: 3, repetitionPenalty: 1.3 }))
    const restored = model.session(await session.save())
    const fork = session.fork()
    const more = long(11, { temperature: 1, repetitionPenalty: 1.3 })
    const expected = await tokensOf(session, more)
    expect(await tokensOf(restored, more)).toEqual(expected)
    expect(await tokensOf(fork, more)).toEqual(expected)
    expect(await restored.save()).toEqual(await session.save())
    await model.dispose()
  })

  test("a fork is not disturbed by what the original does at once", async () => {
    const model = await open()
    const session = await fed(model)
    const expected = await session.logits()
    const fork = session.fork()
    const feeding = session.feed([1, 2, 3])
    expect(await fork.logits()).toEqual(expected)
    await feeding
    expect(await session.logits()).not.toEqual(expected)
    await model.dispose()
  })

  test("a fork draws its own numbers when it gets its own seed", async () => {
    const model = await open()
    const session = await fed(model)
    const draw = (seed: number) => tokensOf(session.fork(), long(8, { temperature: 1, seed }))
    const [one, two, again] = [await draw(1), await draw(2), await draw(1)]
    expect(one).toEqual(again)
    expect(one).not.toEqual(two)
    await model.dispose()
  })

  test("logits come back without a run", async () => {
    const backend = fakeBackend()
    const model = await openFamily("mamba", backend, { tokenizer: letters })
    const session = await fed(model)
    const logits = await session.logits()
    const restored = model.session(await session.save())
    const runs = (): number => backend.engine?.log.filter((call) => call.startsWith("run")).length ?? 0
    const before = runs()
    expect(await restored.logits()).toEqual(logits)
    expect(runs()).toBe(before)
    await model.dispose()
  })

  test("a fresh session can be saved", async () => {
    const model = await open()
    const restored = model.session(await model.session().save())
    expect(restored.tokens).toBe(0)
    await model.dispose()
  })
})

describe("own samplers", () => {
  test("looping over logits() and feed() is greedy generation", async () => {
    const model = await open()
    const expected = await tokensOf(await fed(model), long(6))
    const session = await fed(model)
    const tokens: number[] = []
    for (let i = 0; i < 6; i++) {
      const logits = await session.logits()
      logits[2] = Number.NEGATIVE_INFINITY
      tokens.push(logits.indexOf(Math.max(...logits)))
      await session.feed([tokens[i] as number])
    }
    expect(tokens).toEqual(expected)
    await model.dispose()
  })

  test("logits() before a generation does not change it", async () => {
    const model = await open()
    const expected = await tokensOf(await fed(model), long(6, { temperature: 1, seed: 1 }))
    const session = await fed(model)
    await session.logits()
    await session.logits()
    expect(await tokensOf(session, long(6, { temperature: 1, seed: 1 }))).toEqual(expected)
    await model.dispose()
  })

  test("logits are the caller's own copy", async () => {
    const model = await open()
    const session = await fed(model)
    const logits = await session.logits()
    const kept = logits.slice()
    logits.fill(0)
    expect(await session.logits()).toEqual(kept)
    await model.dispose()
  })
})

describe("a session that is busy or gone", () => {
  test("refuses a second call at once and finishes the first", async () => {
    const model = await open()
    const session = await fed(model)
    const feeding = session.feed(Array.from({ length: 600 }, () => 1))
    for (const call of [session.feed([1]), session.logits(), session.save(), session.generate().result()]) {
      await expect(call).rejects.toThrow(SessionBusyError)
    }
    expect(() => session.fork()).toThrow(SessionBusyError)
    await feeding
    const generation = session.generate(long(9))
    await generation.next()
    await expect(session.logits()).rejects.toThrow(SessionBusyError)
    await generation.return()
    expect(await session.logits()).toHaveLength(320)
    await model.dispose()
  })

  test("two sessions of one model run in turn", async () => {
    const model = await open()
    const other = prompt.map((id) => id ^ 1)
    const expected = [await tokensOf(await fed(model), long(20)), await tokensOf(await fed(model, other), long(20))]
    const [a, b] = [await fed(model), await fed(model, other)]
    expect(await Promise.all([tokensOf(a, long(20)), tokensOf(b, long(20))])).toEqual(expected)
    await model.dispose()
  })

  test("disposed: calls, generations under way, and again", async () => {
    const model = await open()
    const session = await fed(model)
    const generation = session.generate(long(50))
    await generation.next()
    const feeding = model.session()
    const fed2 = feeding.feed(Array.from({ length: 5000 }, () => 1))
    await session.dispose()
    await session.dispose()
    await feeding.dispose()
    await expect(fed2).rejects.toThrow(DisposedError)
    await expect(
      (async () => {
        for await (const _ of generation);
      })(),
    ).rejects.toThrow(DisposedError)
    await expect(session.feed([1])).rejects.toThrow(DisposedError)
    expect(() => session.fork()).toThrow(DisposedError)
    await model.dispose()
    await model.dispose()
    for (const call of [() => model.session(), () => model.generate("a")]) expect(call).toThrow(DisposedError)
    for (const call of [model.complete("a"), model.score("a"), model.embed("a"), model.forward([1])])
      await expect(call).rejects.toThrow(DisposedError)
  })

  test("disposing the model ends its generations", async () => {
    const model = await open()
    const generation = model.generate(prompt, long(5000))
    const session = await fed(model)
    const other = session.generate(long(5000))
    await generation.next()
    await other.next()
    const [rest, otherRest] = [generation.result(), other.result()].map((result) => result.catch((error: unknown) => error))
    await model.dispose()
    expect(await rest).toBeInstanceOf(DisposedError)
    expect(await otherRest).toBeInstanceOf(DisposedError)
  })

  test("sessions and generations leave no state behind", async () => {
    const backend = fakeBackend()
    const model = await openFamily("mamba", backend, { tokenizer: letters })
    const session = await fed(model)
    const fork = session.fork()
    await fork.logits()
    await model.complete([prompt, [1]], long(3))
    for await (const _ of model.generate(prompt, long(9))) break
    await model.score(prompt)
    await session.dispose()
    await fork.dispose()
    await model.session().logits()
    expect(backend.engine?.states).toBe(2)
    await model.dispose()
  })
})
