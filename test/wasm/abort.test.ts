/** An abort is seen in the middle of a prefill, whether memory is shared or not. As an order of events; `benches/wasm/abort.mjs` measures. */
import { describe, expect, test } from "vitest"
import { digest, someIds } from "../support/models.ts"
import { embedded, needsWasm, wasm, ways } from "./kit.ts"

needsWasm()

const ids = someIds(200_000, 4096)

describe.each(ways)("%s", (_way, options) => {
  test("a timeout ends a prefill before a few chunks of hundreds are done, and the session is as it was", async () => {
    const model = await embedded(await wasm(options))
    const session = model.session()
    await session.feed(ids.subarray(0, 600))
    const before = await session.save()
    let chunks = 0
    const feeding = session.feed(ids, { signal: AbortSignal.timeout(20), onProgress: () => chunks++ })
    await expect(feeding).rejects.toMatchObject({ name: "TimeoutError" })
    expect(chunks).toBeLessThan(40)
    expect(digest(await session.save())).toBe(digest(before))
    await model.dispose()
  })

  test("timers of this thread keep their turn during a prefill", async () => {
    const model = await embedded(await wasm(options))
    let [ticks, chunks] = [0, 0]
    const timer = setInterval(() => ticks++, 5)
    await model.session().feed(ids.subarray(0, 20_000), { onProgress: () => chunks++ })
    clearInterval(timer)
    expect(ticks).toBeGreaterThanOrEqual(chunks)
    await model.dispose()
  })

  test("text that is read while a signal fires is not read to its end", async () => {
    const model = await embedded(await wasm(options))
    const text = "The compiler will say what it wants. ".repeat(100_000)
    await expect(model.complete(text, { signal: AbortSignal.timeout(20) })).rejects.toMatchObject({ name: "TimeoutError" })
    await model.dispose()
  })
})
