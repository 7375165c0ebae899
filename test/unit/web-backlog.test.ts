/** The cache of a page is written beside its loads: they never wait for it, readers do, and memory is bounded. */
import { readFileSync } from "node:fs"
import { setImmediate as later } from "node:timers/promises"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { encodeSafetensors } from "../../ts/io/safetensors.ts"
import type { SourceOptions } from "../../ts/io/types.ts"
import { Backlog } from "../../ts/io/web/backlog.ts"
import { type CacheWriter, WebCache } from "../../ts/io/web/cache.ts"
import { openCheckpoint } from "../../ts/io/web/source.ts"
import { type FakeCaches, fakeCaches } from "../support/fake-caches.ts"
import { type FileServer, serveFiles, sha256 } from "../support/file-server.ts"

const block = 2 ** 22
const file = "http://files.test/m"
const config = new Uint8Array(readFileSync(new URL("../golden/families/mamba/config.json", import.meta.url)))
const made = (seed: number): Uint8Array => {
  const data = new Uint8Array(2.5 * block).map((_, i) => (i * 31 + (i >> 12) * seed) & 255)
  return encodeSafetensors(new Map([["a", { dtype: "u8", shape: [data.length], data }]]))
}
const [weights, others] = [made(7), made(11)]

let caches: FakeCaches
/** Lets the oldest `put` that waits go on. */
let release: () => Promise<void>
/** And all that come. */
let releaseAll: () => Promise<void>
beforeEach(() => {
  caches = fakeCaches()
  vi.stubGlobal("caches", caches)
  const waiting: (() => void)[] = []
  caches.gate = () => new Promise((resolve) => waiting.push(resolve))
  release = async () => {
    await eventually(() => expect(waiting).not.toEqual([]))
    waiting.shift()?.()
    await settle()
  }
  releaseAll = async () => {
    caches.gate = async () => {}
    for (const resume of waiting.splice(0)) resume()
    await settle()
  }
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

/** Until nothing happens any more without a `put` that ends. */
async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await later()
}
/** Of what digests in another thread: for as long as that takes on a busy machine. */
const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 30_000, interval: 10 })
/** A clock that stands still: nothing is written because of a pause. */
const stopClock = (): unknown => vi.spyOn(performance, "now").mockReturnValue(0)
/** Whether a promise has come to something. */
async function over(work: Promise<unknown>): Promise<boolean> {
  let ended = false
  const end = (): void => {
    ended = true
  }
  work.then(end, end)
  await settle()
  return ended
}
const begun = (): string[] => caches.begun.map((key) => new URL(key).search.slice("?statespace=".length))
const kept = (): string[] => [...(caches.kept.get("c")?.keys() ?? [])].map((key) => new URL(key).search.slice("?statespace=".length))

async function open(backlog: Backlog): Promise<{ cache: WebCache; writer: CacheWriter }> {
  const cache = (await WebCache.open("c", backlog)) as WebCache
  return { cache, writer: cache.keeper.write(file, "tag") as CacheWriter }
}

describe("a writer", () => {
  it("takes as much as the bound says while nothing can be written, and then one block for each that was", async () => {
    stopClock()
    const { writer } = await open(new Backlog(3 * block))
    await writer.push(weights.subarray(0, 2 * block + 5))
    expect(begun()).toEqual([])
    const fourth = writer.push(weights.subarray(0, block))
    expect(await over(fourth)).toBe(false)
    await release()
    await fourth
    // Below the bound it leaves the load alone again.
    expect(begun()).toEqual(["0"])
    const fifth = writer.push(weights.subarray(0, block))
    expect(await over(fifth)).toBe(false)
    await eventually(() => expect(begun()).toEqual(["0", "1"]))
    await releaseAll()
    await fifth
    writer.abort()
  })

  it("begins when nothing has come for a while, and later at the end of a file", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] })
    caches.gate = async () => {}
    const { writer } = await open(new Backlog())
    await writer.push(weights.subarray(0, block))
    await vi.advanceTimersByTimeAsync(199)
    await writer.push(weights.subarray(0, block))
    await vi.advanceTimersByTimeAsync(199)
    await settle()
    expect(begun()).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    await eventually(() => expect(begun()).toEqual(["0", "1"]))
    await writer.push(weights.subarray(0, block))
    writer.commit()
    await vi.advanceTimersByTimeAsync(1499)
    await settle()
    expect(begun()).toEqual(["0", "1"])
    await vi.advanceTimersByTimeAsync(1)
    await eventually(() => expect(kept()).toEqual(["0", "1", "2", "entry"]))
  })

  it("that gives up leaves nothing of what was written, is being written, or waits", async () => {
    stopClock()
    const { cache, writer } = await open(new Backlog(3 * block))
    const pushing = writer.push(weights.subarray(0, 2 * block)).then(() => writer.push(weights.subarray(0, block)))
    await release()
    await pushing
    const more = writer.push(weights.subarray(0, block))
    await eventually(() => expect([kept(), begun()]).toEqual([["0"], ["0", "1"]]))
    writer.abort()
    const found = cache.find(file)
    expect(await over(found)).toBe(false)
    await release()
    await more
    expect(await found).toBeUndefined()
    expect([kept(), begun()]).toEqual([[], ["0", "1"]])
    // And the next one is not in its way.
    await releaseAll()
    const next = cache.keeper.write(file, "tag") as CacheWriter
    await next.push(weights)
    next.commit()
    expect(await cache.find(file)).toMatchObject({ bytes: weights.length })
    expect(kept()).toEqual(["0", "1", "2", "entry"])
  })

  it("whose disk is full leaves nothing and tries no more", async () => {
    caches.room = block - 1
    const { cache, writer } = await open(new Backlog())
    await writer.push(weights)
    writer.commit()
    const found = cache.find(file)
    await releaseAll()
    expect(await found).toBeUndefined()
    expect([kept(), begun()]).toEqual([[], ["0"]])
  })

  it("writes the record after every block, and the files in the order in which they were complete", async () => {
    const backlog = new Backlog()
    const { cache, writer } = await open(backlog)
    await writer.push(weights)
    const small = cache.keeper.write(`${file}/small`, "tag") as CacheWriter
    await small.push(config)
    small.commit()
    writer.commit()
    const found = cache.find(file)
    for (let count = 1; count <= 6; count++) {
      await eventually(() => expect(begun()).toHaveLength(count))
      await release()
    }
    expect(await found).toMatchObject({ bytes: weights.length })
    expect(caches.begun.map((key) => key.slice(file.length))).toEqual([
      ...["?statespace=0", "?statespace=1", "/small?statespace=0", "/small?statespace=entry"],
      ...["?statespace=2", "?statespace=entry"],
    ])
  })

  it("is alone with its file in this page", async () => {
    const { cache, writer } = await open(new Backlog())
    await writer.push(weights)
    expect(cache.keeper.write(file, "other")).toBeUndefined()
    cache.keeper.drop(file)
    writer.commit()
    await releaseAll()
    expect(await cache.find(file)).toMatchObject({ tag: "tag", bytes: weights.length })
    const parts: Uint8Array[] = []
    for await (const piece of cache.read(file, (await cache.find(file)) as NonNullable<Awaited<ReturnType<WebCache["find"]>>>))
      parts.push(piece)
    expect(sha256(Buffer.concat(parts))).toBe(sha256(weights))
  })
})

describe("a load", () => {
  let server: FileServer
  beforeEach(async () => {
    server = await serveFiles()
    server.files.set("/m/config.json", config)
    server.files.set("/m/model.safetensors", weights)
  })
  afterEach(async () => {
    await releaseAll()
    await server.close()
  })

  async function load(options: SourceOptions = {}): Promise<{ digest: string; from: string[] }> {
    const from = new Set<string>()
    const { files } = await openCheckpoint(`${server.origin}/m`, {
      ...options,
      onProgress: ({ file: name, phase }) => void (name === "model.safetensors" && from.add(phase)),
    })
    const parts: Uint8Array[] = []
    for await (const piece of files[0]?.open() ?? []) parts.push(piece)
    return { digest: sha256(Buffer.concat(parts)), from: [...from] }
  }
  const all = (): string[] => [...(caches.kept.get("statespace")?.keys() ?? [])].map((key) => key.slice(server.origin.length))

  it("ends while nothing has been written, and the next one waits for it instead of the network", async () => {
    expect(await load()).toEqual({ digest: sha256(weights), from: ["download"] })
    expect(all()).toEqual([])
    server.asked = []
    const next = load({ localFilesOnly: true })
    expect(await over(next)).toBe(false)
    await releaseAll()
    expect(await next).toEqual({ digest: sha256(weights), from: ["read"] })
    expect(server.asked).toEqual([])
    // Weights last: what is not beside kept weights was not on the server either.
    expect(all()).toEqual([
      ...["0", "entry"].map((part) => `/m/config.json?statespace=${part}`),
      ...["0", "1", "2", "entry"].map((part) => `/m/model.safetensors?statespace=${part}`),
    ])
  })

  it("that waits for another's writing ends at once when it is aborted", async () => {
    await load()
    const controller = new AbortController()
    const next = load({ signal: controller.signal })
    expect(await over(next)).toBe(false)
    const reason = new Error("enough")
    controller.abort(reason)
    await expect(next).rejects.toBe(reason)
    await expect(load({ signal: controller.signal })).rejects.toBe(reason)
  })

  it("beside another of the same address has the right bytes, and so has what is kept", async () => {
    await releaseAll()
    const both = await Promise.all([load(), load()])
    expect(both.map(({ digest }) => digest)).toEqual([sha256(weights), sha256(weights)])
    expect(await load({ localFilesOnly: true })).toEqual({ digest: sha256(weights), from: ["read"] })
    const { files } = await openCheckpoint(`${server.origin}/m`, { cacheDir: "statespace" })
    server.files.set("/m/model.safetensors", others)
    expect((await load()).digest).toBe(sha256(others))
    for await (const _ of files[0]?.open() ?? []) break
    await files[0]?.close()
    expect((await load()).digest).toBe(sha256(others))
  })
})
