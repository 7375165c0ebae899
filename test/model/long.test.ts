/** Nothing grows: very many tokens through one session. */
import { expect, test } from "vitest"
import { isNative } from "../support/backend.ts"
import { resident } from "../support/files.ts"
import { relativeError } from "../support/models.ts"
import { openTested } from "../support/open.ts"

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

// What grows would show in fewer on wasm too, which takes several times as long for them, in several ways and places.
const tokens = isNative ? 1_000_000 : 100_000

test(`${tokens} tokens: the engine's bytes stay exactly, resident memory within 16 MiB`, { timeout: 600_000 }, async () => {
  const model = await openTested("rustbook")
  const session = model.session()
  let early: { bytes: unknown; resident: number | undefined } | undefined
  const onProgress = ({ loaded }: { loaded: number }): void => {
    // The first chunks reach every page of the arena and let the runtime settle.
    if (early === undefined && loaded >= 10_000) early = { bytes: model.info().bytes, resident: resident() }
  }
  // The last tokens are of a shorter chunk, whose program a GPU may not have had before.
  const before = 4096 + (tokens % 4096)
  await session.feed(ids(before))
  await session.feed(ids(tokens), { onProgress })
  expect(session.tokens).toBe(before + tokens)
  expect(model.info().bytes).toEqual(early?.bytes)
  expect((resident() ?? 0) - (early?.resident ?? 0)).toBeLessThanOrEqual(16 * 2 ** 20)
  const logits = await session.logits()
  expect(logits.every(Number.isFinite)).toBe(true)
  await model.dispose()
})

test("the state after 20,000 tokens is that of the fp64 reference", async (context) => {
  if (!isNative) context.skip("the WebAssembly module has no f64 executor")
  const [fast, exact] = [await openTested("mamba-odd"), await openTested("mamba-odd", { engine: { executor: "reference" } })]
  const short = [...ids(20_000)].flatMap((part) => [...part].map((id) => id % 320))
  const sessions = [fast.session(), exact.session()] as const
  for (const session of sessions) await session.feed(short)
  expect(relativeError(await sessions[1].logits(), await sessions[0].logits())).toBeLessThanOrEqual(1e-4)
  await Promise.all([fast.dispose(), exact.dispose()])
})
