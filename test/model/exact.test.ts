/** Bit for bit: what must not change an answer at all. */
import { describe, expect, test } from "vitest"
import type { EngineOptions } from "../../ts/backend/interface.ts"
import type { Session } from "../../ts/run/session.ts"
import type { GenerateOptions, Piece } from "../../ts/run/types.ts"
import { isCuda, isNative } from "../support/backend.ts"
import { digest, someIds } from "../support/models.ts"
import { openTested } from "../support/open.ts"
import { fed, long, tokensOf } from "../support/sessions.ts"

const names = ["mamba", "mamba-odd", "rustbook"]
const vocabOf: Record<string, number> = { mamba: 320, "mamba-odd": 320, rustbook: 4096 }

/** Everything that a model answers, as one value. */
async function answers(name: string, engine: EngineOptions): Promise<unknown> {
  const model = await openTested(name, { engine })
  const ids = someIds(700, vocabOf[name] as number, 8)
  const session = await fed(model, ids)
  const greedy = await session.generate(long(20)).result()
  const drawn = await session
    .generate(long(20, { temperature: 0.9, topK: 40, topP: 0.95, minP: 0.01, repetitionPenalty: 1.2, seed: 11 }))
    .result()
  const batch = await model.complete([ids.slice(0, 3), ids, ids.slice(0, 100)], long(9))
  const { logprobs } = await model.score(ids)
  const vector = await model.embed(ids)
  const { logits, hiddenStates, captured } = await model.forward(ids.slice(0, 40), { hiddenStates: true, capture: ["dt", "B", "C"] })
  const saved = digest(await session.save())
  await model.dispose()
  const digests = (arrays: readonly { data: Float32Array }[]): string[] => arrays.map(({ data }) => digest(new Uint8Array(data.buffer)))
  const numbers = digests([{ data: logprobs }, { data: vector }, logits, ...(hiddenStates ?? []), ...Object.values(captured).flat()])
  return { greedy, drawn, batch, numbers, saved }
}

describe.each(names)("%s", (name) => {
  test("threads, flat and guarded memory change nothing", async () => {
    const expected = await answers(name, { threads: 2 })
    const flat = { threads: 2, memory: "flat" as const }
    for (const engine of [{ threads: 1 }, flat, ...(isCuda ? [] : [{ threads: 2, guard: true }])]) {
      expect(await answers(name, engine)).toEqual(expected)
    }
    // A guarded GPU launches each node by itself, where sums have another order.
    if (isCuda) expect(await answers(name, { ...flat, guard: true })).toEqual(await answers(name, { threads: 2, guard: true }))
  })

  test("copying the weights instead of mapping them changes nothing", async (context) => {
    if (!isNative) context.skip("WebAssembly maps no files")
    const [mapped, copied] = [await openTested(name), await openTested(name, { mmap: false })]
    const ids = someIds(50, vocabOf[name] as number)
    expect(digest(await (await fed(copied, ids)).save())).toBe(digest(await (await fed(mapped, ids)).save()))
    await Promise.all([mapped.dispose(), copied.dispose()])
  })

  test("save, restore and fork go on as the session does", async () => {
    const model = await openTested(name)
    const session = await fed(model, someIds(600, vocabOf[name] as number))
    await tokensOf(session, long(7, { temperature: 1, seed: 2 }))
    const bytes = await session.save()
    const others = [model.session(bytes), session.fork()]
    const elsewhere = await openTested(name)
    others.push(elsewhere.session(bytes))
    const options = long(25, { temperature: 1, repetitionPenalty: 1.1 })
    const expected = await tokensOf(session, options)
    const more = someIds(530, vocabOf[name] as number, 77)
    await session.feed(more)
    const end = await session.save()
    for (const other of others) {
      expect(digest(await other.save())).toBe(digest(bytes))
      expect(await tokensOf(other, options)).toEqual(expected)
      await other.feed(more)
      expect(digest(await other.save())).toBe(digest(end))
    }
    await Promise.all([model.dispose(), elsewhere.dispose()])
  })

  const ends: [string, GenerateOptions][] = [
    ["greedy", {}],
    ["sampled", { temperature: 1.1, topP: 0.95, seed: 5 }],
  ]
  describe.each(ends)("a %s generation", (_kind, options) => {
    /** A session to end early, and what its tokens and its end must be. */
    const uninterrupted = async () => {
      const model = await openTested(name)
      const start = await fed(model, someIds(30, vocabOf[name] as number, 3))
      const whole = start.fork()
      const expected = await tokensOf(whole, long(26, options))
      const saved = digest(await whole.save())
      const { seed: _seed, ...unseeded } = options
      const goesOn = async (session: Session, seen: readonly number[]): Promise<void> => {
        expect([...seen, ...(await tokensOf(session, long(26 - seen.length, unseeded)))]).toEqual(expected)
        expect(digest(await session.save())).toBe(saved)
        await session.dispose()
      }
      return { model, start, goesOn }
    }

    test("ended by break at every index from 1 to 17 goes on as if it had not been", async () => {
      const { model, start, goesOn } = await uninterrupted()
      for (let n = 1; n <= 17; n++) {
        const session = start.fork()
        const seen: number[] = []
        for await (const { token } of session.generate(long(26, options))) if (seen.push(token) === n) break
        await goesOn(session, seen)
      }
      await model.dispose()
    })

    test("ended by an abort or an exception in the caller's loop likewise", async () => {
      const { model, start, goesOn } = await uninterrupted()
      for (const n of [1, 2, 3, 6, 10, 13]) {
        for (const how of ["abort", "exception"]) {
          const session = start.fork()
          const abort = new AbortController()
          const seen: number[] = []
          const loop = async (): Promise<void> => {
            for await (const { token } of session.generate(long(26, { ...options, signal: abort.signal }))) {
              if (seen.push(token) !== n) continue
              if (how === "exception") throw new RangeError("enough")
              abort.abort(new RangeError("enough"))
            }
          }
          await expect(loop()).rejects.toThrow(RangeError)
          expect(seen).toHaveLength(n)
          await goesOn(session, seen)
        }
      }
      await model.dispose()
    })
  })

  test("an aborted feed leaves the session as it was, wherever the abort arrives", async () => {
    const model = await openTested(name)
    const session = await fed(model, someIds(30, vocabOf[name] as number))
    const before = await session.save()
    const ids = someIds(4000, vocabOf[name] as number, 4)
    for (const delay of [0, 1, 3, 8]) {
      const abort = new AbortController()
      const feeding = session.feed(ids, { signal: abort.signal })
      setTimeout(() => abort.abort(new RangeError("enough")), delay)
      const error = await feeding.catch((e: unknown) => e)
      // On a fast machine the feed may be over: then it took all.
      if (error === undefined) {
        expect(session.tokens).toBe(4030)
        break
      }
      expect(error).toBeInstanceOf(RangeError)
      expect(digest(await session.save())).toBe(digest(before))
    }
    await model.dispose()
  })
})

describe("a stop string that spans pieces", () => {
  test("shows in no piece, and the session holds its tokens", async () => {
    const model = await openTested("rustbook")
    const start = model.session()
    await start.feed("The compiler will")
    const whole = start.fork()
    const reference = await whole.generate({ maxNewTokens: 40 }).result()
    for (const at of [5, 21, 60]) {
      const stop = reference.text.slice(at, at + 9)
      const session = start.fork()
      const generation = session.generate({ maxNewTokens: 40, stop: [stop, "never"] })
      const pieces: Piece[] = []
      for await (const piece of generation) pieces.push(piece)
      const result = await generation.result()
      expect(result.finishReason).toBe("stop")
      expect(result.text).toBe(reference.text.slice(0, reference.text.indexOf(stop)))
      expect(pieces.map(({ text }) => text).join("")).toBe(result.text)
      expect(result.tokens).toEqual(reference.tokens.slice(0, result.tokens.length))
      const rest = await tokensOf(session, { maxNewTokens: 40 - result.tokens.length })
      expect([...result.tokens, ...rest]).toEqual(reference.tokens)
      expect(digest(await session.save())).toBe(digest(await whole.save()))
    }
    await model.dispose()
  })
})
