/** Checkpoints that an engine's Worker reads for its page: what the page gets of them, and what becomes of its caches. */
import { readFileSync } from "node:fs"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import type { Engine } from "../../ts/backend/interface.ts"
import { openRemote } from "../../ts/backend/wasm/remote.ts"
import type { Tokenizer } from "../../ts/io/tokenizer.ts"
import type { Checkpoint, CheckpointSource, Progress, SourceOptions } from "../../ts/io/types.ts"
import { WebCache } from "../../ts/io/web/cache.ts"
import { openElsewhere } from "../../ts/io/web/elsewhere.ts"
import { openCheckpoint } from "../../ts/io/web/source.ts"
import { type FakeCaches, fakeCaches } from "../support/fake-caches.ts"
import { type FakeWorker, fakeShell, fakeWorker } from "../support/fake-shell.ts"
import { type FileServer, serveFiles, sha256 } from "../support/file-server.ts"

const names = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
const root = new URL("../../models/rustbook-mamba1-2.8m/", import.meta.url)
const folder = new Map(names.map((name) => [name, new Uint8Array(readFileSync(new URL(name, root)))]))
const weights = folder.get("model.safetensors") as Uint8Array
const text = readFileSync(new URL("../../test/golden/rustbook-mamba1/validation.txt", import.meta.url), "utf8")

let server: FileServer
let caches: FakeCaches
let worker: FakeWorker
let engine: Engine
beforeEach(async () => {
  server = await serveFiles()
  for (const [name, bytes] of folder) server.files.set(`/tiny/${name}`, bytes)
  caches = fakeCaches()
  vi.stubGlobal("caches", caches)
  const start = () => {
    worker = fakeWorker(fakeShell())
    return worker.port
  }
  engine = await openRemote({ module: {}, threads: false }, {}, 1, start)
})
afterEach(async () => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
  await engine.dispose()
  await server.close()
})

const kept = (): string[] => [...(caches.kept.get("statespace")?.keys() ?? [])].map((key) => key.slice(`${server.origin}/tiny/`.length))
const open = (options: SourceOptions = {}, source: CheckpointSource = `${server.origin}/tiny`): Promise<Checkpoint> =>
  openElsewhere(source, options, engine)
/** Brings the weights to the engine; gives the SHA-256 of what lies there. */
async function bring({ held, tensors }: Checkpoint): Promise<string> {
  const brought = await held?.weights(tensors)
  return sha256(await engine.read(brought?.weights as never, "0"))
}
/** Waits until the page has written what the Worker has sent it. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 20))
  const cache = await WebCache.open("statespace")
  for (const name of names) await cache?.find(`${server.origin}/tiny/${name}`)
}
const failure = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => expect.unreachable("it went well"),
    (error: unknown) => error,
  )

describe("a page", () => {
  it("gets what it would have read, without a byte of the weights", async () => {
    const { files, tokenizer, tokenizerFiles: _files, ...here } = await openCheckpoint(`${server.origin}/tiny`, { cacheDir: false })
    await files[0]?.close()
    const there = await open()
    expect(there).toMatchObject(here)
    expect(there.files).toEqual([])
    expect(await bring(there)).toBe(sha256(weights))
    expect(there.tokenizer?.vocabSize).toBe(tokenizer?.vocabSize)
    // Of the bytes nothing was posted to the Worker: it has fetched them.
    expect(worker.heard.some((message) => "stream" in message)).toBe(false)
  })

  it("decodes as the whole tokenizer does, without its tables, and encodes in the Worker", async () => {
    const whole = (await openCheckpoint(`${server.origin}/tiny`, { cacheDir: false })).tokenizer as Tokenizer
    const { tokenizer, held } = await open()
    const parse = vi.spyOn(JSON, "parse")
    const ids = await held?.encoder.encode(text)
    expect([...(ids ?? [])]).toEqual(whole.encode(text))
    expect(tokenizer?.decode(ids ?? [])).toBe(text)
    for (let id = 0; id < whole.vocabSize + 3; id++) expect(tokenizer?.decode([id])).toBe(whole.decode([id]))
    const special = { skipSpecialTokens: true }
    expect(tokenizer?.decode([0, 1, 0], special)).toBe(whole.decode([0, 1, 0], special))
    expect([tokenizer?.bosId, tokenizer?.eosId, tokenizer?.cut(text, 100)]).toEqual([whole.bosId, whole.eosId, whole.cut(text, 100)])
    expect(tokenizer?.encode("")).toEqual([])
    expect(parse).not.toHaveBeenCalled()
    // Whoever wants ids at once has them here.
    expect(tokenizer?.encode(text)).toEqual(whole.encode(text))
    expect(parse).toHaveBeenCalledTimes(1)
  })

  it("keeps what the Worker brings, and the Worker reads what the page has kept", async () => {
    const from = new Set<string>()
    const onProgress = ({ phase, file }: Progress): void => void (file === "model.safetensors" && from.add(phase))
    expect(await bring(await open({ onProgress }))).toBe(sha256(weights))
    await settled()
    expect(kept().sort()).toEqual(
      [...names, "model.safetensors"]
        .flatMap((name, i) => (i < 5 ? [`${name}?statespace=0`, `${name}?statespace=entry`] : [`${name}?statespace=1`]))
        .sort(),
    )
    expect([...from]).toEqual(["download"])
    from.clear()
    expect(await bring(await open({ onProgress }))).toBe(sha256(weights))
    expect([...from]).toEqual(["read"])
  })

  it("hears of progress from the first to the last byte", async () => {
    const heard: Progress[] = []
    await bring(await open({ cacheDir: false, onProgress: (progress) => heard.push(progress) }))
    expect(heard[0]).toEqual({ phase: "source", file: `URL ${server.origin}/tiny`, loaded: 0 })
    expect(heard.at(-1)).toEqual({ phase: "download", file: "model.safetensors", loaded: weights.length, total: weights.length })
    expect(new Set(heard.slice(1).map(({ file }) => file))).toEqual(new Set(names))
  })

  it.each([
    [
      "parts",
      () => ({
        config: new URL(`${server.origin}/tiny/config.json`),
        weights: [weights],
        tokenizer: `${server.origin}/tiny/tokenizer.json`,
      }),
    ],
    ["files", () => names.map((name) => new File([folder.get(name) as Uint8Array<ArrayBuffer>], name))],
  ])("gives it %s too, which stay the page's own", async (_what, source) => {
    const checkpoint = await open({}, source() as CheckpointSource)
    expect(checkpoint.tokenizer?.vocabSize).toBe(4096)
    expect(await bring(checkpoint)).toBe(sha256(weights))
    expect(weights.length).toBe(folder.get("model.safetensors")?.length)
  })

  it("has the tokenizer of another place where it names one", async () => {
    server.files.set("/other.json", folder.get("tokenizer.json") as Uint8Array)
    server.files.delete("/tiny/tokenizer.json")
    const checkpoint = await open({ tokenizer: `${server.origin}/other.json` })
    expect(checkpoint.tokenizer?.vocabSize).toBe(4096)
    expect(await checkpoint.held?.encoder.encode("The")).toEqual(Int32Array.from(checkpoint.tokenizer?.encode("The") ?? []))
    const missing = await failure(open({ tokenizer: `${server.origin}/nowhere.json` }))
    expect(missing).toMatchObject({ code: "TOKENIZER_INVALID", message: expect.stringContaining("nowhere.json") })
  })

  it("reads by itself what cannot be sent", async () => {
    const blob = (name: string) => {
      const file = new Blob([folder.get(name) as Uint8Array<ArrayBuffer>])
      return { name, size: file.size, slice: (a: number, b: number) => file.slice(a, b), arrayBuffer: () => file.arrayBuffer() }
    }
    const checkpoint = await open({}, names.map(blob))
    expect(checkpoint.held).toBeUndefined()
    expect(checkpoint.files[0]?.bytes).toBe(weights.length)
  })
})

describe("the end of a load", () => {
  it.each([
    ["config.json", "HUB_NOT_FOUND", undefined],
    ["tokenizer.json", "TOKENIZER_INVALID", "{"],
    ["tokenizer.json", "TOKENIZER_INVALID", "{}"],
    ["generation_config.json", "CHECKPOINT_CONFIG", "[]"],
    ["model.safetensors", "CHECKPOINT_TRUNCATED", ""],
  ])("by a bad %s is %s, as itself and at once", async (name, code, content) => {
    if (content === undefined) server.files.delete(`/tiny/${name}`)
    else server.files.set(`/tiny/${name}`, new TextEncoder().encode(content))
    const here = await failure(openCheckpoint(`${server.origin}/tiny`, { cacheDir: false }))
    const there = await failure(open({ cacheDir: false }))
    expect(there).toMatchObject({ code, message: (here as Error).message })
    expect((there as Error).constructor).toBe((here as Error).constructor)
  })

  it.each([null, [1, 2], 5, new Map()])("by a source that is none, such as %j, is the same error as here", async (source) => {
    const here = await failure(openCheckpoint(source as never))
    expect(await failure(open({}, source as never))).toMatchObject({
      code: (here as { code: string }).code,
      message: (here as Error).message,
    })
  })

  it("by its signal is the signal's reason, before and in the middle of the weights, and leaves nothing of them in the cache", async () => {
    const reason = new Error("enough")
    expect(await failure(open({ signal: AbortSignal.abort(reason) }))).toBe(reason)
    const stop = new AbortController()
    const checkpoint = await open({ signal: stop.signal })
    const bringing = failure(bring(checkpoint))
    stop.abort(reason)
    expect(await bringing).toBe(reason)
    checkpoint.held?.close()
    await settled()
    expect(kept().filter((key) => key.startsWith("model.safetensors"))).toEqual([])
  })

  it("by a listener that throws is what it has thrown", async () => {
    const reason = new RangeError("mine")
    const onProgress = ({ file }: Progress): void => {
      if (file === "tokenizer.json") throw reason
    }
    const loading = async (): Promise<string> => bring(await open({ onProgress }))
    expect(await failure(loading())).toBe(reason)
  })

  it("by the Worker's death is EngineCrashedError, and leaves nothing of what it had not brought", async () => {
    const checkpoint = await open()
    const bringing = failure(bring(checkpoint))
    worker.die("its Worker ended with code 5")
    expect(await bringing).toMatchObject({ code: "ENGINE_CRASHED" })
    checkpoint.held?.close()
    await settled()
    expect(kept().filter((key) => key.startsWith("model.safetensors"))).toEqual([])
  })
})
