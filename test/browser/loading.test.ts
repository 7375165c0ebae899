/** Checkpoints in a real page: from its own server and another, into its real cache and out of it. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { type FileServer, serveFiles, sha256 } from "../support/file-server.ts"
import { type Browser, openBrowser, openPage, type WatchedPage } from "./chromium.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const names = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
const folder = new Map(names.map((name) => [name, new Uint8Array(readFileSync(`${root}models/rustbook-mamba1-2.8m/${name}`))]))
const weights = folder.get("model.safetensors") as Uint8Array
const types: Record<string, string> = { html: "text/html", js: "text/javascript", json: "application/json" }

/** In the page: reads a checkpoint to its end, as an engine does. */
const script = `
import { WebCache } from "./ts/io/web/cache.ts"
import { openCheckpoint } from "./ts/io/web/source.ts"
globalThis.read = async (source, { stopAt, ...options } = {}) => {
  const phases = new Set()
  const stop = new AbortController()
  const onProgress = ({ phase, file, loaded }) => {
    if (phase === "source") return
    if (file.endsWith("model.safetensors")) phases.add(phase)
    if (file.endsWith("model.safetensors") && loaded > stopAt) stop.abort(new Error("enough"))
  }
  try {
    const { files, tensors, tokenizer } = await openCheckpoint(source, { ...options, onProgress, signal: stop.signal })
    const parts = []
    for await (const piece of files[0].open()) parts.push(piece)
    const bytes = await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer())
    const hex = Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("")
    return { hex, phases: [...phases], tensors: tensors.length, vocabulary: tokenizer?.vocabSize }
  } catch (error) {
    return { error: error.code ?? error.message, text: error.message }
  }
}
/** A file that is still being written into the cache is waited for by whoever looks for it. */
globalThis.settled = async (name) => (await WebCache.open("statespace"))?.find(new URL(name, location).href)
globalThis.keys = async () => (await (await caches.open("statespace")).keys()).map(({ url }) => url)
`

let browser: Browser
let server: FileServer
let other: FileServer
let watched: WatchedPage
beforeAll(async () => {
  const { outputFiles } = await build({
    ...{ stdin: { contents: script, resolveDir: root }, bundle: true, format: "esm", platform: "browser", write: false },
    logLevel: "silent",
  })
  const page = { "/page.html": '<!doctype html><script type="module" src="/page.js"></script>', "/page.js": outputFiles[0]?.text ?? "" }
  for (const made of [(server = await serveFiles()), (other = await serveFiles())]) {
    for (const [name, bytes] of folder) made.files.set(`/tiny/${name}`, bytes)
    for (const [path, text] of Object.entries(page)) made.files.set(path, new TextEncoder().encode(text))
    const plain = made.headers
    made.headers = (path, bytes) => ({
      ...plain(path, bytes),
      "content-type": types[path.split(".").at(-1) ?? ""] ?? "application/octet-stream",
    })
  }
  browser = await openBrowser()
  watched = await openPage(browser, `${server.origin}/page.html`)
})
afterAll(async () => {
  await browser.close()
  await server.close()
  await other.close()
})
beforeEach(async () => {
  server.answer = undefined
  await watched.page.evaluate('caches.delete("statespace")')
})

const read = (source: string, options: object = {}): Promise<unknown> =>
  watched.page.evaluate(`read(${JSON.stringify(source)}, ${JSON.stringify(options)})`)
/** What is kept once the last file of the folder has been written or given up. */
const keys = (): Promise<string[]> => watched.page.evaluate('settled("/tiny/model.safetensors").then(keys)')
const whole = (...phases: string[]): object => ({ hex: sha256(weights), phases, tensors: 82, vocabulary: 4096 })

describe("a page", () => {
  test("reads a relative address, keeps it, and checks what it kept", async () => {
    expect(await read("./tiny")).toEqual(whole("download"))
    expect(await keys()).toHaveLength(4 * 2 + 3)
    expect(await read("/tiny/model.safetensors")).toEqual(whole("read"))
    await watched.page.evaluate(`caches.open("statespace").then(async (cache) => {
      const key = (await cache.keys()).find(({ url }) => url.endsWith("model.safetensors?statespace=1"))
      const bytes = new Uint8Array(await (await cache.match(key)).arrayBuffer())
      bytes[5] ^= 1
      await cache.put(key, new Response(bytes))
    })`)
    expect(await read("./tiny")).toEqual(whole("read", "download"))
    expect(await read("./tiny")).toEqual(whole("read"))
    expect(await read("./tiny", { localFilesOnly: true })).toEqual(whole("read"))
  })

  test("has nothing of a download that was aborted or broke off", async () => {
    expect(await read("./tiny", { stopAt: 4_500_000 })).toMatchObject({ error: "enough" })
    expect((await keys()).filter((key) => key.includes("model.safetensors"))).toEqual([])
    server.answer = (path, response) => {
      if (!path.endsWith("model.safetensors")) return false
      response
        .writeHead(200, { "content-length": weights.length })
        .write(weights.subarray(0, 4_500_000), () => setTimeout(() => response.destroy(), 50))
      return true
    }
    expect(await read("./tiny")).toMatchObject({ error: "HUB_INCOMPLETE" })
    expect((await keys()).filter((key) => key.includes("model.safetensors"))).toEqual([])
  })

  test("reads from another origin where that allows it, and says what may be wrong where it does not", async () => {
    expect(await read(`${other.origin}/tiny`)).toMatchObject({ error: "HUB_UNREACHABLE", text: expect.stringContaining("CORS") })
    const own = other.headers
    other.headers = (path, bytes) => ({ ...own(path, bytes), "access-control-allow-origin": "*", "access-control-expose-headers": "ETag" })
    expect(await read(`${other.origin}/tiny`)).toEqual(whole("download"))
    expect(await read(`${other.origin}/tiny`)).toEqual(whole("read"))
    // A server that hides its ETags is asked again: nobody could say whether the copy is current.
    other.headers = (path, bytes) => ({ ...own(path, bytes), "access-control-allow-origin": "*" })
    expect(await read(`${other.origin}/tiny`)).toEqual(whole("download"))
  })

  test("reads files that were dropped, and parts that a bundler has put into addresses", async () => {
    const dropped = `Promise.all(${JSON.stringify(names)}.map(async (name) => new File([await (await fetch("/tiny/" + name)).blob()], name)))`
    expect(await watched.page.evaluate(`${dropped}.then((files) => read(files))`)).toEqual(whole("read"))
    const config = `data:application/json;base64,${Buffer.from(folder.get("config.json") as Uint8Array).toString("base64")}`
    const parts = { config, weights: "/tiny/model.safetensors", tokenizer: "/tiny/tokenizer.json" }
    expect(await watched.page.evaluate(`read(${JSON.stringify(parts)})`)).toEqual(whole("download"))
    expect(watched.errors).toEqual([])
  })
})
