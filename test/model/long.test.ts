/** Nothing grows: a million tokens through one session. */
import { expect, test } from "vitest"
import { relativeError } from "../support/models.ts"
import { openNative } from "../support/native.ts"

/** Ids without end, a few thousand at a time. */
function* ids(count: number): Generator<Int32Array> {
  let x = 7
  for (let left = count; left > 0; left -= 4096) {
    yield Int32Array.from({ length: Math.min(left, 4096) }, () => {
      x = (Math.imul(x, 1664525) + 1013904223) >>> 0
      return (x >>> 8) % 4096
    })
  }
}

const tokens = 1_000_000

test("a million tokens: the engine's bytes stay exactly, resident memory within 16 MiB", { timeout: 600_000 }, async () => {
  const model = await openNative("rustbook")
  const session = model.session()
  let early: { bytes: unknown; resident: number } | undefined
  const onProgress = ({ loaded }: { loaded: number }): void => {
    // The first chunks reach every page of the arena and let the runtime settle.
    if (early === undefined && loaded >= 10_000) early = { bytes: model.info().bytes, resident: process.memoryUsage().rss }
  }
  await session.feed(ids(tokens), { onProgress })
  expect(session.tokens).toBe(tokens)
  expect(model.info().bytes).toEqual(early?.bytes)
  expect(process.memoryUsage().rss - (early?.resident ?? 0)).toBeLessThanOrEqual(16 * 2 ** 20)
  const logits = await session.logits()
  expect(logits.every(Number.isFinite)).toBe(true)
  await model.dispose()
})

test("the state after 20,000 tokens is that of the fp64 reference", async () => {
  const [fast, exact] = [await openNative("mamba-odd"), await openNative("mamba-odd", { engine: { executor: "reference" } })]
  const short = [...ids(20_000)].flatMap((part) => [...part].map((id) => id % 320))
  const sessions = [fast.session(), exact.session()] as const
  for (const session of sessions) await session.feed(short)
  expect(relativeError(await sessions[1].logits(), await sessions[0].logits())).toBeLessThanOrEqual(1e-4)
  await Promise.all([fast.dispose(), exact.dispose()])
})
