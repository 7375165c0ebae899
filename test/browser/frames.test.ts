/** A page goes on drawing while a prompt of 100 kB is read and fed, isolated or not. As an order of events: nothing here is timed. */
import { afterAll, describe, expect, test } from "vitest"
import { openBrowser, openPage } from "./chromium.ts"
import { serve } from "./server.ts"

const browser = await openBrowser()
afterAll(() => browser.close())

/** What the page does; `Tokenizer.encode` tells how much it is given, since reading text on the page's thread would hold up its frames. */
const script = `async (abortAfter) => {
  const { load, Tokenizer } = await import("/dist/browser.js")
  const model = await load(location.origin + "/models/rustbook-mamba1-2.8m/", { cacheDir: false, threads: 2 })
  const part = await (await fetch("/test/golden/rustbook-mamba1/validation.txt")).text()
  const text = part.repeat(Math.ceil(100_000 / part.length))
  const { encode } = Tokenizer.prototype
  let longest = 0
  Tokenizer.prototype.encode = function (text) {
    longest = Math.max(longest, text.length)
    return encode.call(this, text)
  }
  const events = []
  const frame = () => { events.push("frame"); requestAnimationFrame(frame) }
  requestAnimationFrame(frame)
  const session = model.session()
  const signal = abortAfter === null ? undefined : AbortSignal.timeout(abortAfter)
  const error = await session.feed(text, { signal, onProgress: () => events.push("chunk") }).catch((error) => error)
  const { threads } = model.info()
  const tokens = session.tokens
  await model.dispose()
  return { length: text.length, longest, events, tokens, threads, error: error?.name ?? null }
}`
interface Outcome {
  length: number
  longest: number
  events: ("frame" | "chunk")[]
  tokens: number
  threads: number
  error: string | null
}

async function inPage(isolated: boolean, abortAfter: number | null): Promise<Outcome> {
  const server = await serve({ isolated })
  server.files.set("/page.html", '<!doctype html><meta charset="utf-8"><title>frames</title>')
  const { page } = await openPage(browser, `${server.origin}/page.html`)
  try {
    return await page.evaluate<Outcome>(`(${script})(${abortAfter})`)
  } finally {
    await page.close()
    await server.close()
  }
}

describe.each([true, false])("isolated: %s", (isolated) => {
  test("frames come between the chunks of a long prompt, and nothing long is encoded on the page's thread", async () => {
    const { length, longest, events, tokens, threads, error } = await inPage(isolated, null)
    expect(error).toBeNull()
    expect(threads).toBe(isolated ? 2 : 1)
    expect(length).toBeGreaterThanOrEqual(100_000)
    expect(longest).toBeLessThanOrEqual(2048)
    const chunks = events.filter((event) => event === "chunk").length
    expect(chunks).toBeGreaterThanOrEqual(Math.floor(tokens / 512))
    // A page that is held up draws two frames in all; how many a free one draws is a matter of how long a chunk takes.
    expect(events.filter((event) => event === "frame").length).toBeGreaterThanOrEqual(chunks / 8)
  })

  test("a timeout ends it when few of its chunks are done", async () => {
    const { events, error, tokens } = await inPage(isolated, 20)
    expect(error).toBe("TimeoutError")
    expect(events.filter((event) => event === "chunk").length).toBeLessThan(20)
    expect(tokens).toBe(0)
  })
})
