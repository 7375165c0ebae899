/**
 * An abort is seen in the middle of a prefill, whatever the engine runs in and whether memory is shared or not. As an order of events;
 * `benches/wasm/abort.mjs` measures.
 */
import { afterAll, beforeAll, expect, test } from "vitest"
import type { Model } from "../../ts/run/model.ts"
import { isCuda } from "../support/backend.ts"
import { digest, someIds } from "../support/models.ts"
import { openTested } from "../support/open.ts"

const ids = someIds(200_000, 4096)
let model: Model
beforeAll(async () => {
  model = await openTested("rustbook")
})
afterAll(() => model?.dispose())

test("a timeout ends a prefill when a few of hundreds of chunks are done, and the session is as it was", async () => {
  const session = model.session()
  await session.feed(ids.subarray(0, 600))
  const before = await session.save()
  let chunks = 0
  const feeding = session.feed(ids, { signal: AbortSignal.timeout(20), onProgress: () => chunks++ })
  await expect(feeding).rejects.toMatchObject({ name: "TimeoutError" })
  expect(chunks).toBeLessThan(40)
  expect(digest(await session.save())).toBe(digest(before))
  await session.dispose()
})

test("timers keep their turn during a prefill", async (context) => {
  if (isCuda) context.skip("a GPU has fed it before a timer's turn")
  const session = model.session()
  let [ticks, chunks] = [0, 0]
  const timer = setInterval(() => ticks++, 5)
  await session.feed(ids.subarray(0, 20_000), { onProgress: () => chunks++ })
  clearInterval(timer)
  expect(chunks).toBeGreaterThan(30)
  expect(ticks).toBeGreaterThanOrEqual(chunks / 2)
  await session.dispose()
})

test("long text that is being read when a signal fires is not read to its end", async () => {
  const text = "The compiler will say what it wants. ".repeat(100_000)
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  await expect(model.complete(text, { signal: AbortSignal.timeout(20) })).rejects.toMatchObject({ name: "TimeoutError" })
  clearInterval(timer)
  expect(turns).toBeGreaterThan(0)
  const session = model.session()
  await expect(session.feed(text, { signal: AbortSignal.timeout(20) })).rejects.toMatchObject({ name: "TimeoutError" })
  expect(session.tokens).toBe(0)
  await session.dispose()
})
