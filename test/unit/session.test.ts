/** What a session holds: fed, saved, forked, sampled by its owner, busy or gone. */
import { describe, expect, test } from "vitest"
import { DisposedError, OptionError, SessionBusyError } from "../../ts/errors.ts"
import { fakeBackend, open } from "../support/fake-engine.ts"
import { letters, openFamily } from "../support/models.ts"
import { fed, long, prompt, tokensOf } from "../support/sessions.ts"

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
