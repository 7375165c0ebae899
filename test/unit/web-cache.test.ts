/** What a page keeps of its downloads: all of a file or nothing, checked when it is used again. */
import { readFileSync } from "node:fs"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import type { HubError } from "../../ts/errors.ts"
import { encodeSafetensors } from "../../ts/io/safetensors.ts"
import type { Progress, SourceOptions } from "../../ts/io/types.ts"
import { WebCache } from "../../ts/io/web/cache.ts"
import { openCheckpoint } from "../../ts/io/web/source.ts"
import { type FakeCaches, fakeCaches } from "../support/fake-caches.ts"
import { type FileServer, serveFiles, sha256 } from "../support/file-server.ts"

const block = 2 ** 22
const config = new Uint8Array(readFileSync(new URL("../golden/families/mamba/config.json", import.meta.url)))
/** More than two blocks, no two alike. */
const made = (seed: number): Uint8Array => {
  const data = new Uint8Array(2.5 * block).map((_, i) => (i * 31 + (i >> 12) * seed) & 255)
  return encodeSafetensors(new Map([["a", { dtype: "u8", shape: [data.length], data }]]))
}
const [weights, others] = [made(7), made(11)]

let server: FileServer
let caches: FakeCaches
beforeEach(async () => {
  server = await serveFiles()
  server.files.set("/m/config.json", config)
  server.files.set("/m/model.safetensors", weights)
  caches = fakeCaches()
  vi.stubGlobal("caches", caches)
})
afterEach(async () => {
  vi.unstubAllGlobals()
  await server.close()
})

const url = (): string => `${server.origin}/m`
const kept = (name = "statespace"): string[] =>
  [...(caches.kept.get(name)?.keys() ?? [])].map((key) => key.slice(server.origin.length)).sort()
const whole = [
  ...["0", "entry"].map((part) => `/m/config.json?statespace=${part}`),
  ...["0", "1", "2", "entry"].map((part) => `/m/model.safetensors?statespace=${part}`),
]
const keyOf = (part: number | string): string => `${server.origin}/m/model.safetensors?statespace=${part}`
/** Changes one byte of what is kept. */
function damage(at: number): void {
  const bytes = store().get(keyOf(Math.floor(at / block))) as Uint8Array
  bytes[at % block] = (bytes[at % block] as number) ^ 1
}
const store = (): Map<string, Uint8Array> => caches.kept.get("statespace") as Map<string, Uint8Array>

/** A reader of the cache waits for what is still being written; a load does not. */
async function settled(name = "statespace"): Promise<void> {
  const cache = await WebCache.open(name)
  for (const folder of [url(), `${server.origin}/o/n/resolve/main`]) {
    for (const file of ["config.json", "model.safetensors"]) await cache?.find(`${folder}/${file}`)
  }
}

/** Loads, reads the weights to their end, and tells where they came from; then lets the cache be written. */
async function load(options: SourceOptions = {}, source = url()): Promise<{ digest: string; from: string[] }> {
  const from = new Set<string>()
  const onProgress = (progress: Progress): void => {
    if (progress.file === "model.safetensors") from.add(progress.phase)
    options.onProgress?.(progress)
  }
  try {
    const { files } = await openCheckpoint(source, { ...options, onProgress })
    const parts: Uint8Array[] = []
    for await (const piece of files[0]?.open() ?? []) parts.push(piece)
    return { digest: sha256(Buffer.concat(parts)), from: [...from] }
  } finally {
    if (options.cacheDir !== false) await settled(options.cacheDir)
  }
}
const refusal = (options: SourceOptions = {}): Promise<HubError> => load(options).catch((caught: unknown) => caught) as Promise<HubError>

describe("a page's cache", () => {
  it("keeps what was read to its end, and gives it back while the server has the same", async () => {
    expect(await load()).toEqual({ digest: sha256(weights), from: ["download"] })
    expect(kept()).toEqual(whole)
    expect(await load()).toEqual({ digest: sha256(weights), from: ["read"] })
    server.files.set("/m/model.safetensors", others)
    expect(await load()).toEqual({ digest: sha256(others), from: ["download"] })
    expect(await load()).toEqual({ digest: sha256(others), from: ["read"] })
    expect(kept()).toEqual(whole)
  })

  it("trusts a date where there is no ETag, and nothing where there is neither", async () => {
    server.headers = () => ({ "last-modified": "Wed, 21 Oct 2015 07:28:00 GMT" })
    await load()
    expect((await load()).from).toEqual(["read"])
    server.headers = () => ({})
    expect((await load()).from).toEqual(["download"])
    expect((await load()).from).toEqual(["download"])
  })

  it("of a branch of the hub is current while its commit is, and is replaced when that moves on", async () => {
    const hub = { endpoint: server.origin }
    const publish = (sha: string, bytes: Uint8Array): void => {
      const siblings = ["config.json", "model.safetensors"].map((rfilename) => ({ rfilename }))
      server.files.set("/api/models/o/n/revision/main", Buffer.from(JSON.stringify({ sha, siblings })))
      server.files.set(`/o/n/resolve/${sha}/config.json`, config)
      server.files.set(`/o/n/resolve/${sha}/model.safetensors`, bytes)
    }
    // Not even an ETag is needed.
    server.headers = () => ({})
    publish("0".repeat(40), weights)
    expect(await load(hub, "o/n")).toEqual({ digest: sha256(weights), from: ["download"] })
    server.asked = []
    expect(await load(hub, "o/n")).toEqual({ digest: sha256(weights), from: ["read"] })
    expect(server.asked.map(({ path }) => path)).toEqual(["/api/models/o/n/revision/main"])
    const before = kept()
    publish("1".repeat(40), others)
    expect(await load(hub, "o/n")).toEqual({ digest: sha256(others), from: ["download"] })
    expect(kept()).toEqual(before)
    const source = "o/n"
    await server.close()
    expect(await load(hub, source)).toEqual({ digest: sha256(others), from: ["read"] })
    expect(await load({ ...hub, localFilesOnly: true }, source)).toEqual({ digest: sha256(others), from: ["read"] })
  })

  it.each([
    ["the first block", 0],
    ["the second block", block + 5],
    ["the last byte", weights.length - 1],
  ])("never hands out a changed byte: %s", async (_what, at) => {
    await load()
    damage(at)
    const { digest, from } = await load()
    expect(digest).toBe(sha256(weights))
    expect(from).toContain("download")
    // And the copy is whole again.
    expect(await load()).toEqual({ digest: sha256(weights), from: ["read"] })
  })

  it.each([
    ["cut short", (bytes: Uint8Array) => bytes.subarray(0, 1000)],
    ["empty", () => new Uint8Array()],
    ["too long", (bytes: Uint8Array) => Buffer.concat([bytes, bytes])],
    ["gone", () => undefined],
  ])("does not use a copy of which a block is %s", async (_what, change) => {
    await load()
    const changed = change(store().get(keyOf(1)) as Uint8Array)
    if (changed === undefined) store().delete(keyOf(1))
    else store().set(keyOf(1), new Uint8Array(changed))
    expect((await load()).digest).toBe(sha256(weights))
    expect(await load()).toEqual({ digest: sha256(weights), from: ["read"] })
  })

  it.each(["{", "null", "[]", '{"tag":"x","bytes":5,"digests":[]}', '{"tag":1,"bytes":0,"digests":[]}'])(
    "does not use a copy whose record is %s",
    async (text) => {
      await load()
      store().set(keyOf("entry"), new TextEncoder().encode(text))
      expect(await load()).toEqual({ digest: sha256(weights), from: ["download"] })
    },
  )

  it("refuses to mix two versions: a damaged copy of one that the server no longer has", async () => {
    await load()
    damage(block + 5)
    const { files } = await openCheckpoint(url())
    server.files.set("/m/model.safetensors", others)
    const read = async (): Promise<void> => {
      for await (const _ of files[0]?.open() ?? []);
    }
    await expect(read()).rejects.toMatchObject({ code: "HUB_INCOMPLETE", message: expect.stringContaining("another version") })
    expect(await load()).toEqual({ digest: sha256(others), from: ["download"] })
  })

  it("has nothing half-written after an abort, a broken connection, or a reader that stops", async () => {
    const controller = new AbortController()
    const reason = new Error("enough")
    const onProgress = ({ file, loaded }: Progress): void => {
      if (file === "model.safetensors" && loaded > block) controller.abort(reason)
    }
    expect(await refusal({ signal: controller.signal, onProgress })).toBe(reason)
    expect(kept()).toEqual(whole.slice(0, 2))
    server.answer = (path, response) => {
      if (!path.endsWith("model.safetensors")) return false
      response.writeHead(200, { "content-length": weights.length }).write(weights.subarray(0, block + 9), () => response.destroy())
      return true
    }
    expect((await refusal()).code).toBe("HUB_INCOMPLETE")
    expect(kept()).toEqual(whole.slice(0, 2))
    server.answer = undefined
    const { files } = await openCheckpoint(url())
    for await (const _ of files[0]?.open() ?? []) break
    await files[0]?.close()
    await settled()
    expect(kept()).toEqual(whole.slice(0, 2))
    expect((await load()).digest).toBe(sha256(weights))
  })

  it("clears away what a closed tab has left", async () => {
    await load({ cacheDir: "statespace" })
    store().delete(keyOf("entry"))
    store().set(keyOf(7), new Uint8Array(5))
    server.answer = (path, response) => {
      if (path.endsWith("model.safetensors")) response.destroy()
      return path.endsWith("model.safetensors")
    }
    expect((await refusal()).code).toBe("HUB_UNREACHABLE")
    server.answer = undefined
    expect(await load()).toEqual({ digest: sha256(weights), from: ["download"] })
    expect(kept()).toEqual(whole)
  })

  it("keeps nothing of a content that is not what its digest says", async () => {
    server.headers = () => ({ "x-linked-etag": `"${sha256(others)}"` })
    expect((await refusal()).code).toBe("HUB_INCOMPLETE")
    expect(kept().filter((key) => key.includes("model"))).toEqual([])
  })

  it("is used without network: switched off, or not there", async () => {
    await load()
    server.asked = []
    expect(await load({ localFilesOnly: true })).toEqual({ digest: sha256(weights), from: ["read"] })
    expect(server.asked).toEqual([])
    const source = url()
    await server.close()
    expect(await load({}, source)).toEqual({ digest: sha256(weights), from: ["read"] })
    store().delete(keyOf("entry"))
    await expect(load({}, source)).rejects.toMatchObject({ code: "HUB_UNREACHABLE" })
  })

  it("that lacks the model says so when the network is off", async () => {
    const error = await refusal({ localFilesOnly: true })
    expect(error).toMatchObject({ code: "HUB_OFFLINE", url: `${url()}/config.json` })
    await load()
    damage(9)
    expect(await refusal({ localFilesOnly: true })).toMatchObject({ code: "HUB_OFFLINE", message: expect.stringContaining("damaged") })
    expect(server.asked.filter(({ path }) => path.endsWith("model.safetensors"))).toHaveLength(1)
  })

  it("has the name that was given, or is not used", async () => {
    await load({ cacheDir: "mine" })
    expect([...caches.kept.keys()]).toEqual(["mine"])
    expect(await load({ cacheDir: false })).toEqual({ digest: sha256(weights), from: ["download"] })
    expect([...caches.kept.keys()]).toEqual(["mine"])
  })

  it("that is full, forbidden or absent is no error", async () => {
    caches.room = block - 1
    expect(await load()).toEqual({ digest: sha256(weights), from: ["download"] })
    expect(kept()).toEqual(whole.slice(0, 2))
    const forbidden = { open: () => Promise.reject(new DOMException("no", "SecurityError")) }
    for (const none of [
      forbidden,
      undefined,
      {
        open: () => {
          throw new Error("no")
        },
      },
    ]) {
      vi.stubGlobal("caches", none)
      expect(await load()).toEqual({ digest: sha256(weights), from: ["download"] })
    }
    const broken = {
      match: () => Promise.reject(new Error("no")),
      put: () => Promise.reject(new Error("no")),
      delete: () => Promise.reject(new Error("no")),
    }
    vi.stubGlobal("caches", { open: async () => broken })
    expect(await load()).toEqual({ digest: sha256(weights), from: ["download"] })
  })
})
