/** A page goes on drawing while a model is loaded and a prompt of 100 kB is read and fed, isolated or not. Nothing here is timed. */
import { readFileSync } from "node:fs"
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
/** What the page's own thread fetches, and the longest JSON that it parses, until text came from text and then for ids at once. */
const loading = `async () => {
  const { load } = await import("/dist/browser.js")
  const [{ parse }, { fetch }] = [JSON, globalThis]
  const fetched = []
  let longest = 0
  JSON.parse = (text, ...more) => {
    longest = Math.max(longest, text.length)
    return parse(text, ...more)
  }
  globalThis.fetch = (place, ...more) => {
    fetched.push(new URL(place, location.href).pathname)
    return fetch(place, ...more)
  }
  const model = await load("/models/rustbook-mamba1-2.8m/", { cacheDir: "frames", threads: 2 })
  const { text } = await model.complete("The compiler will", { maxNewTokens: 12, doSample: false })
  const generating = longest
  const ids = model.tokenizer.encode("The compiler will")
  await model.dispose()
  return { fetched, text, generating, encoding: longest, ids: ids.length }
}`
interface Loaded {
  fetched: string[]
  text: string
  generating: number
  encoding: number
  ids: number
}

interface Outcome {
  length: number
  longest: number
  events: ("frame" | "chunk")[]
  tokens: number
  threads: number
  error: string | null
}

async function inPage<T = Outcome>(isolated: boolean, abortAfter: number | null, code = script): Promise<T> {
  const server = await serve({ isolated })
  server.files.set("/page.html", '<!doctype html><meta charset="utf-8"><title>frames</title>')
  const { page } = await openPage(browser, `${server.origin}/page.html`)
  try {
    return await page.evaluate<T>(`(${code})(${abortAfter})`)
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

  test("a model is loaded and generates text while the page's thread neither reads its files nor makes tables of its words", async () => {
    const { fetched, text, generating, encoding, ids } = await inPage<Loaded>(isolated, null, loading)
    expect(text.length).toBeGreaterThan(12)
    expect(fetched.filter((path) => path.startsWith("/models/"))).toEqual([])
    const file = readFileSync(new URL("../../models/rustbook-mamba1-2.8m/tokenizer.json", import.meta.url), "utf8")
    const whole = JSON.stringify(JSON.parse(file)).length
    expect(generating).toBeLessThan(whole / 4)
    // It makes them when it is asked for ids at once.
    expect(encoding).toBe(whole)
    expect(ids).toBeGreaterThan(1)
  })

  test("a timeout ends it when few of its chunks are done", async () => {
    const { events, error, tokens } = await inPage(isolated, 20)
    expect(error).toBe("TimeoutError")
    expect(events.filter((event) => event === "chunk").length).toBeLessThan(20)
    expect(tokens).toBe(0)
  })
})
