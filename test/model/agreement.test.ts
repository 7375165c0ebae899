/**
 * Prefill, chunked prefill and step give one answer at every awkward length; a ragged batch gives what its rows give alone. max|a − b| ≤
 * 1e-5 · max|a|.
 */
import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { decodeSafetensors } from "../../ts/io/safetensors.ts"
import type { Model } from "../../ts/run/model.ts"
import type { Session } from "../../ts/run/session.ts"
import { relativeError, someIds } from "../support/models.ts"
import { openTested } from "../support/open.ts"

const bound = 1e-5

/** Logits and every state tensor of a session. */
async function everything(session: Session): Promise<Map<string, Float32Array>> {
  const { tensors } = decodeSafetensors(await session.save(), "snapshot")
  return new Map(
    [...tensors].filter(([, { dtype }]) => dtype === "f32").map(([name, { data }]) => [name, new Float32Array(data.slice().buffer)]),
  )
}
async function expectEqual(a: Session, b: Session): Promise<void> {
  const [one, two] = [await everything(a), await everything(b)]
  expect([...one.keys()]).toEqual([...two.keys()])
  expect(one.has("logits")).toBe(true)
  for (const [name, values] of one) expect(relativeError(values, two.get(name) as Float32Array), name).toBeLessThanOrEqual(bound)
}
async function fed(model: Model, ...parts: Int32Array[]): Promise<Session> {
  const session = model.session()
  for (const part of parts) await session.feed(part)
  return session
}
/** Every token through the step program's own path: logits are asked for after each. */
async function stepped(model: Model, ids: Int32Array): Promise<Session> {
  const session = model.session()
  for (const id of ids) {
    await session.feed([id])
    await session.logits()
  }
  return session
}

describe.each(["mamba", "mamba-odd"])("%s", (name) => {
  let model: Model
  beforeAll(async () => {
    model = await openTested(name)
  })
  afterAll(() => model.dispose())

  test.each([1, 2, 15, 16, 17, 31, 33, 511, 512, 513, 1023, 1025])("%i tokens: at once ≡ in two ≡ one by one", async (n) => {
    const ids = someIds(n, 320, n)
    const whole = await fed(model, ids)
    await expectEqual(whole, await stepped(model, ids))
    for (const cut of new Set([1, n >> 1, n - 1])) {
      if (cut > 0 && cut < n) await expectEqual(whole, await fed(model, ids.subarray(0, cut), ids.subarray(cut)))
    }
    // The same through a forward pass, which makes its logits in the chunk.
    const { logits } = await model.forward(ids, { logitsToKeep: 1 })
    expect(relativeError(await whole.logits(), logits.data)).toBeLessThanOrEqual(bound)
    await Promise.all([...[whole].map((session) => session.dispose())])
  })

  test("random lengths up to 3000, cut at random places", async () => {
    const lengths = fc.integer({ min: 1, max: 3000 })
    await fc.assert(
      fc.asyncProperty(lengths, fc.array(lengths, { maxLength: 4 }), fc.nat(), async (n, cuts, seed) => {
        const ids = someIds(n, 320, seed)
        const at = [0, ...cuts.filter((cut) => cut < n).sort((a, b) => a - b), n]
        const parts = at.slice(1).map((end, i) => ids.subarray(at[i], end))
        const [whole, pieces] = [await fed(model, ids), await fed(model, ...parts)]
        await expectEqual(whole, pieces)
        await whole.dispose()
        await pieces.dispose()
      }),
      { numRuns: 12, seed: 4 },
    )
  })

  test("forward in chunks ≡ step by step, at every position", async () => {
    const ids = someIds(600, 320, 9)
    const { logits } = await model.forward(ids)
    const session = model.session()
    for (const [at, id] of ids.entries()) {
      await session.feed([id])
      if (at % 37 && at < 590) continue
      expect(relativeError(await session.logits(), logits.data.subarray(at * 320, (at + 1) * 320))).toBeLessThanOrEqual(bound)
    }
    await session.dispose()
  })

  test("a ragged batch is what its rows are alone", async () => {
    const lengths = [1, 15, 513, 2, 17, 1023, 64, 300, 3000]
    const prompts = lengths.map((n) => someIds(n, 320, n))
    const options = { maxNewTokens: 12, minNewTokens: 12 }
    const results = await model.complete(prompts, options)
    for (const [i, prompt] of prompts.entries()) {
      const alone = await model.complete(prompt, options)
      expect(results[i]?.tokens).toEqual(alone.tokens)
      expect(relativeError(alone.logprobs, results[i]?.logprobs as number[])).toBeLessThanOrEqual(1e-4)
    }
  })

  test("score ≡ forward", async () => {
    const ids = someIds(700, 320, 3)
    const [{ logprobs }, { logits }] = [await model.score(ids), await model.forward(ids)]
    const expected = Array.from({ length: 699 }, (_, at) => {
      const row = logits.data.subarray(at * 320, (at + 1) * 320)
      const max = Math.max(...row)
      return (row[ids[at + 1] as number] as number) - max - Math.log(row.reduce((sum, x) => sum + Math.exp(x - max), 0))
    })
    expect(relativeError(expected, logprobs.subarray(1))).toBeLessThanOrEqual(bound)
  })

  test("embed ≡ the last hidden states", async () => {
    const ids = someIds(1100, 320, 5)
    const { hiddenStates } = await model.forward(ids, { hiddenStates: true, logitsToKeep: 1 })
    const last = hiddenStates?.at(-1) as { data: Float32Array; shape: number[] }
    const width = model.config.hiddenSize
    expect(last.shape).toEqual([1100, width])
    const mean = Float32Array.from({ length: width }, (_, i) => {
      let sum = 0
      for (let at = 0; at < 1100; at++) sum += last.data[at * width + i] as number
      return sum / 1100
    })
    expect(relativeError(mean, await model.embed(ids))).toBeLessThanOrEqual(bound)
    for (const n of [1, 2, 512, 513, 1100]) {
      const vector = await model.embed(ids.subarray(0, n), { pooling: "last" })
      expect(relativeError(last.data.subarray((n - 1) * width, n * width), vector)).toBeLessThanOrEqual(bound)
    }
  })

  test("captured Δ, B and C run the scan's own recurrence", async () => {
    const ids = someIds(530, 320, 6)
    const { captured } = await model.forward(ids, { capture: ["dt", "B", "C"], logitsToKeep: 1 })
    const layers = model.config.numHiddenLayers
    for (const values of [captured.dt, captured.B, captured.C]) expect(values).toHaveLength(layers)
    expect(captured.dt?.[0]?.shape).toEqual([530, model.config.intermediateSize])
    expect(captured.B?.[0]?.shape).toEqual([530, model.config.stateSize])
    // Softplus makes Δ positive.
    expect(captured.dt?.every(({ data }) => data.every((x) => x > 0))).toBe(true)
  })
})

describe("compute bf16", () => {
  const nmse = (a: Float32Array, b: Float32Array): number =>
    a.reduce((sum, x, i) => sum + (x - (b[i] as number)) ** 2, 0) / a.reduce((sum, x) => sum + x * x, 0)

  test.each(["mamba", "mamba-odd", "rustbook"])(
    "%s: prefill, chunks and steps agree within NMSE 1e-4, and with f32 within 1e-3",
    async (name) => {
      const [model, f32] = [await openTested(name, { compute: "bf16" }), await openTested(name)]
      expect(model.info().compute).toBe("bf16")
      const ids = someIds(200, model.config.vocabSize, 2)
      const whole = await fed(model, ids)
      const others = [await stepped(model, ids), await fed(model, ids.subarray(0, 77), ids.subarray(77))]
      const values = await everything(whole)
      for (const other of others) {
        const others = await everything(other)
        for (const [tensor, numbers] of values) expect(nmse(numbers, others.get(tensor) as Float32Array), tensor).toBeLessThanOrEqual(1e-4)
      }
      const exact = await (await fed(f32, ids)).logits()
      const error = nmse(exact, await whole.logits())
      expect(error).toBeLessThanOrEqual(1e-3)
      // It does round: equal results would mean that the option is not taken.
      expect(error).toBeGreaterThan(0)
      await Promise.all([model.dispose(), f32.dispose()])
    },
  )
})
