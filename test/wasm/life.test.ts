/** Engines that crash, come and go, and meet. */
import { describe, expect, test } from "vitest"
import { loadNative } from "../../ts/backend/native.ts"
import { assets } from "../../ts/backend/wasm/assets.ts"
import { Direct } from "../../ts/backend/wasm/direct.ts"
import { compile } from "../../ts/backend/wasm/module.ts"
import { instantiate } from "../../ts/backend/wasm/shell.ts"
import { BackendUnavailableError, EngineCrashedError } from "../../ts/errors.ts"
import type { Model } from "../../ts/run/model.ts"
import { resident } from "../support/files.ts"
import { relativeError, someIds } from "../support/models.ts"
import { softplusTwice } from "../unit/seam-kit.ts"
import { embedded, needsWasm, wasm, watched, ways } from "./kit.ts"

needsWasm()

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => expect.unreachable("it went well"),
    (e: unknown) => e,
  )

describe("a crash", () => {
  test.each([1, 2])("of one of %i Workers rejects what runs and what comes; the next load works", async (threads) => {
    const { backend, workers } = await watched(threads)
    const model = await embedded(backend)
    const session = model.session()
    await session.feed("The compiler")
    expect(workers).toHaveLength(threads)
    const feeding = failure(session.feed(someIds(50_000, 4096)))
    await workers.at(-1)?.terminate()
    expect(await feeding).toBeInstanceOf(EngineCrashedError)
    expect(await failure(model.complete("The compiler will"))).toMatchObject({ code: "ENGINE_CRASHED", fix: expect.stringMatching(/load/) })
    await model.dispose()
    const next = await embedded(backend)
    expect((await next.complete("The compiler will", { maxNewTokens: 5 })).tokens).toHaveLength(5)
    await next.dispose()
  })

  test("a trap in the module is one too, and another instance is not touched by it", async () => {
    const artefact = await compile(assets.wasm(false, false))
    const [shell, other] = [await instantiate(artefact), new Direct(await instantiate(artefact), { threads: 1 })]
    const engine = new Direct(shell, { threads: 1 })
    // What no call can do: everything that the module remembers is gone.
    new Uint8Array((shell.memory as { buffer: ArrayBuffer }).buffer).fill(0xff)
    expect(await failure(engine.load(softplusTwice(3), null))).toBeInstanceOf(EngineCrashedError)
    expect(await failure(engine.load(softplusTwice(3), null))).toBeInstanceOf(EngineCrashedError)
    await engine.dispose()
    await other.load(softplusTwice(3), null)
    await other.dispose()
  })
})

describe.each(ways)("%s", (_way, options) => {
  test("20 rounds of load and dispose leave memory flat", { timeout: 240_000 }, async () => {
    const backend = await wasm(options)
    const after: number[] = []
    for (let round = 0; round < 20; round++) {
      const model = await embedded(backend)
      await model.complete("The compiler will", { maxNewTokens: 3 })
      await model.dispose()
      ;(globalThis as { gc?: () => void }).gc?.()
      after.push(resident() as number)
    }
    // One model is 11 MB of weights and as much again of programs; the first rounds fill the runtime's own caches.
    expect(Math.min(...after.slice(15)) - Math.max(...after.slice(3, 6))).toBeLessThanOrEqual(40 * 2 ** 20)
  })

  test("two sessions at once are what each is alone", async () => {
    const model = await embedded(await wasm(options))
    const prompts = ["The compiler will", "A reference is"]
    const alone = await Promise.all(prompts.map(async (prompt) => (await model.complete(prompt, { maxNewTokens: 12 })).text))
    const together = await Promise.all(
      prompts.map(async (prompt) => {
        const session = model.session()
        await session.feed(prompt)
        const texts: string[] = []
        for await (const { text } of session.generate({ maxNewTokens: 12 })) texts.push(text)
        return texts.join("")
      }),
    )
    expect(together).toEqual(alone)
    await model.dispose()
  })

  test("a snapshot made on native goes on here, and one made here on native", async (context) => {
    const models: Model[] = []
    try {
      models.push(await embedded(loadNative()))
    } catch (error) {
      if (!(error instanceof BackendUnavailableError)) throw error
      context.skip(error.message)
    }
    models.push(await embedded(await wasm(options)))
    for (const [here, there] of [models, [...models].reverse()] as [Model, Model][]) {
      const session = here.session()
      await session.feed("The borrow checker reads every function once and")
      await session.generate({ maxNewTokens: 7 }).result()
      const copy = there.session(await session.save())
      expect(relativeError(await session.logits(), await copy.logits())).toBeLessThanOrEqual(1e-4)
      const [expected, got] = await Promise.all([session, copy].map((each) => each.generate({ maxNewTokens: 20 }).result()))
      expect(got?.tokens).toEqual(expected?.tokens)
      // Their own snapshots again fit each other's model.
      expect(here.session(await copy.save()).tokens).toBe(session.tokens)
    }
    await Promise.all(models.map((model) => model.dispose()))
  })
})
