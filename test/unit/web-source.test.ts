/** Checkpoints as a page reads them, against a server of this machine. */
import { readFileSync } from "node:fs"
import type { ServerResponse } from "node:http"
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { type CheckpointError, HubError, OptionError } from "../../ts/errors.ts"
import { encodeSafetensors, type TensorData } from "../../ts/io/safetensors.ts"
import type { Checkpoint, CheckpointSource, Progress, SourceOptions } from "../../ts/io/types.ts"
import { openCheckpoint } from "../../ts/io/web/source.ts"
import { type FileServer, serveFiles, sha256 } from "../support/file-server.ts"

const file = (path: string): Uint8Array => new Uint8Array(readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url))))
const names = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
const embedded = new Map(names.map((name) => [name, file(`models/rustbook-mamba1-2.8m/${name}`)]))
const weights = embedded.get("model.safetensors") as Uint8Array
const tensor = (...shape: number[]): TensorData => ({ dtype: "f32", shape, data: new Uint8Array(4 * shape.reduce((a, b) => a * b, 1)) })

let server: FileServer
beforeEach(async () => {
  server = await serveFiles()
  for (const [name, bytes] of embedded) server.files.set(`/models/tiny/${name}`, bytes)
})
afterEach(() => server.close())

/** All bytes of a weight file, as an engine gets them. */
async function read(checkpoint: Checkpoint, number = 0): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const piece of checkpoint.files[number]?.open() ?? []) parts.push(piece)
  return new Uint8Array(Buffer.concat(parts))
}
async function refusal(source: unknown, options: SourceOptions = {}): Promise<HubError & CheckpointError> {
  const opened = openCheckpoint(source as CheckpointSource, options).then(read)
  return (await opened.catch((caught: unknown) => caught)) as HubError & CheckpointError
}

describe("an address", () => {
  it("of a folder gives the checkpoint, and asks once for each file", async () => {
    const heard: Progress[] = []
    const checkpoint = await openCheckpoint(`${server.origin}/models/tiny`, { onProgress: (progress) => heard.push(progress) })
    expect(checkpoint).toMatchObject({ name: "tiny", label: `URL ${server.origin}/models/tiny`, unsupported: [] })
    expect(checkpoint.tensors).toHaveLength(82)
    expect(checkpoint.tokenizer?.vocabSize).toBe(4096)
    expect(checkpoint.generationConfig.eos_token_id).toBe(0)
    expect(checkpoint.files[0]).toMatchObject({ name: `${server.origin}/models/tiny/model.safetensors`, bytes: weights.length })
    expect(sha256(await read(checkpoint))).toBe(sha256(weights))
    expect(server.asked.map(({ path }) => path.slice("/models/tiny/".length)).sort()).toEqual(names)
    expect(heard[0]).toEqual({ phase: "source", file: checkpoint.label, loaded: 0 })
    expect(heard.at(-1)).toEqual({ phase: "download", file: "model.safetensors", loaded: weights.length, total: weights.length })
  })

  it("of the weights file finds what lies beside it, under any name and behind a query", async () => {
    server.files.set("/models/tiny/other name.safetensors", weights)
    server.files.delete("/models/tiny/model.safetensors")
    const checkpoint = await openCheckpoint(new URL(`${server.origin}/models/tiny/other%20name.safetensors?key=1#x`))
    expect(sha256(await read(checkpoint))).toBe(sha256(weights))
    expect(checkpoint.config.model_type).toBe("mamba")
  })

  it("keeps the weights on the server until an engine takes them", async () => {
    const large = encodeSafetensors(new Map([["a", tensor(8_000_000)]]))
    server.files.set("/models/tiny/model.safetensors", large)
    const checkpoint = await openCheckpoint(`${server.origin}/models/tiny`)
    expect(checkpoint.tensors.map(({ name, bytes }) => [name, bytes])).toEqual([["a", 32_000_000]])
    // What the sockets hold in between, but by far not all.
    expect(server.sent.get("/models/tiny/model.safetensors")).toBeLessThan(large.length / 2)
    await checkpoint.files[0]?.close()
  })

  it("may be that of a server that does not say how long a file is, or that compresses", async () => {
    server.headers = () => ({})
    const plain = await openCheckpoint(`${server.origin}/models/tiny`)
    expect(plain.files[0]?.bytes).toBe(weights.length)
    expect(sha256(await read(plain))).toBe(sha256(weights))
    const heard: Progress[] = []
    const zipped = gzipSync(weights, { level: 1 })
    server.answer = (path, response) => {
      if (!path.endsWith("model.safetensors")) return false
      response.writeHead(200, { "content-encoding": "gzip", "content-length": zipped.length }).end(zipped)
      return true
    }
    const packed = await openCheckpoint(`${server.origin}/models/tiny`, { onProgress: (progress) => heard.push(progress) })
    expect(packed.files[0]?.bytes).toBe(weights.length)
    expect(sha256(await read(packed))).toBe(sha256(weights))
    expect(heard.at(-1)).toEqual({ phase: "download", file: "model.safetensors", loaded: weights.length, total: undefined })
  })

  it("may have shards, more than a browser opens connections", async () => {
    const map: Record<string, string> = {}
    for (let i = 0; i < 9; i++) {
      map[`t${i}`] = `part-${i}.safetensors`
      server.files.set(`/models/tiny/part-${i}.safetensors`, encodeSafetensors(new Map([[`t${i}`, tensor(i + 1)]])))
    }
    server.files.delete("/models/tiny/model.safetensors")
    server.files.set("/models/tiny/model.safetensors.index.json", Buffer.from(JSON.stringify({ weight_map: map })))
    const checkpoint = await openCheckpoint(`${server.origin}/models/tiny`)
    expect(checkpoint.tensors.map(({ name, file: number }) => [name, number])).toEqual(Object.keys(map).map((name, i) => [name, i]))
    expect(sha256(await read(checkpoint, 8))).toBe(sha256(server.files.get("/models/tiny/part-8.safetensors") as Uint8Array))
  })

  it("of an application that answers everything with its start page has none of the files that it does not have", async () => {
    server.answer = (path, response) => {
      if (server.files.has(path)) return false
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<!doctype html>")
      return true
    }
    for (const name of ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]) server.files.delete(`/models/tiny/${name}`)
    const checkpoint = await openCheckpoint(`${server.origin}/models/tiny`)
    expect(checkpoint).toMatchObject({ tokenizer: undefined, generationConfig: {} })
    await checkpoint.files[0]?.close()
    expect(await refusal(`${server.origin}/else`)).toMatchObject({ code: "HUB_NOT_FOUND", message: expect.stringContaining("HTML") })
  })

  it.each([
    [404, "HUB_NOT_FOUND"],
    [403, "HUB_FORBIDDEN"],
    [500, "HUB_REFUSED"],
  ])("that answers %i is a HubError with the status", async (status, code) => {
    server.answer = (_path, response) => {
      response.writeHead(status).end()
      return true
    }
    const error = await refusal(`${server.origin}/models/tiny`)
    expect(error).toBeInstanceOf(HubError)
    expect(error).toMatchObject({ code, status, url: `${server.origin}/models/tiny/config.json` })
  })

  it("that cannot be reached, or breaks off, or sends other bytes, is told apart", async () => {
    const gone = await serveFiles()
    await gone.close()
    const away = await refusal(`${gone.origin}/models/tiny`)
    expect(away).toMatchObject({ code: "HUB_UNREACHABLE", fix: expect.stringContaining("CORS") })
    const only = (send: (response: ServerResponse) => unknown): void => {
      server.answer = (path, response) => {
        if (!path.endsWith("model.safetensors")) return false
        send(response)
        return true
      }
    }
    only((response) =>
      response.writeHead(200, { "content-length": weights.length }).write(weights.subarray(0, 100_000), () => response.destroy()),
    )
    expect(await refusal(`${server.origin}/models/tiny`)).toMatchObject({
      code: "HUB_INCOMPLETE",
      message: expect.stringContaining("broke"),
    })
    only((response) =>
      response
        .writeHead(200, { "x-linked-etag": `"${sha256(weights)}"` })
        .end(weights.map((byte, i) => (i === 5_000_000 ? byte ^ 1 : byte))),
    )
    expect(await refusal(`${server.origin}/models/tiny`)).toMatchObject({
      code: "HUB_INCOMPLETE",
      message: expect.stringContaining("digest"),
    })
    only((response) => response.writeHead(200).end(weights.subarray(0, 4)))
    expect(await refusal(`${server.origin}/models/tiny`)).toMatchObject({ code: "CHECKPOINT_TRUNCATED" })
  })

  it("is let go of when aborted, with the signal's reason", async () => {
    const reason = new Error("enough")
    const early = AbortSignal.abort(reason)
    await expect(openCheckpoint(`${server.origin}/models/tiny`, { signal: early })).rejects.toBe(reason)
    const controller = new AbortController()
    const onProgress = ({ file: name, loaded }: Progress): void => {
      if (name === "model.safetensors" && loaded > 1_000_000) controller.abort(reason)
    }
    const checkpoint = await openCheckpoint(`${server.origin}/models/tiny`, { signal: controller.signal, onProgress })
    await expect(read(checkpoint)).rejects.toBe(reason)
  })

  it.each(["http://", "file:///x", ""])("%j is none", async (text) => {
    expect(await refusal(text)).toBeInstanceOf(OptionError)
  })

  it("is needed: a page carries no model unasked", async () => {
    expect(await refusal(undefined)).toMatchObject({ code: "OPTION_REQUIRED", fix: expect.stringContaining("statespace/tiny") })
  })
})

describe("the hub", () => {
  const sha = "0123456789abcdef0123456789abcdef01234567"
  beforeEach(() => {
    for (const [name, bytes] of embedded) {
      server.files.set(`/owner/tiny/resolve/main/${name}`, bytes)
      server.files.set(`/owner/tiny/resolve/${sha}/${name}`, bytes)
      server.files.set(`/owner/tiny/resolve/refs/pr/1/${name}`, bytes)
    }
  })
  const hub = (options: SourceOptions = {}): SourceOptions => ({ endpoint: `${server.origin}/`, ...options })

  it.each([
    ["owner/tiny", {}, "owner/tiny@main (hub)"],
    [`owner/tiny@${sha}`, {}, `owner/tiny@${sha} (hub)`],
    ["owner/tiny", { revision: "refs/pr/1" }, "owner/tiny@refs/pr/1 (hub)"],
  ])("gives %s with %j", async (id, options, label) => {
    const checkpoint = await openCheckpoint(id, hub(options))
    expect(checkpoint).toMatchObject({ name: "owner/tiny", label })
    expect(sha256(await read(checkpoint))).toBe(sha256(weights))
  })

  it("alone gets the token", async () => {
    await read(await openCheckpoint("owner/tiny", hub({ token: "secret" })))
    expect([...new Set(server.asked.map(({ authorization }) => authorization))]).toEqual(["Bearer secret"])
    server.asked = []
    await read(await openCheckpoint(`${server.origin}/models/tiny`, { token: "secret" }))
    expect([...new Set(server.asked.map(({ authorization }) => authorization))]).toEqual([undefined])
  })

  /** Lets the server tell of a revision as the hub does. */
  function tell(revision: string, files: string[] = names): void {
    const siblings = files.map((rfilename) => ({
      rfilename,
      ...(rfilename.endsWith(".safetensors") && { lfs: { sha256: sha256(weights), size: weights.length } }),
    }))
    server.files.set(`/api/models/owner/tiny/revision/${revision}`, Buffer.from(JSON.stringify({ sha, siblings })))
  }

  it("says what it has: nothing else is asked for, all from one commit, and its digest is checked", async () => {
    tell("main", ["config.json", "model.safetensors", "README.md"])
    const checkpoint = await openCheckpoint("owner/tiny", hub())
    expect(checkpoint).toMatchObject({ name: "owner/tiny", label: "owner/tiny@main (hub)", tokenizer: undefined })
    expect(sha256(await read(checkpoint))).toBe(sha256(weights))
    expect(server.asked.map(({ path }) => path)).toEqual([
      "/api/models/owner/tiny/revision/main",
      `/owner/tiny/resolve/${sha}/config.json`,
      `/owner/tiny/resolve/${sha}/model.safetensors`,
    ])
    server.files.set(
      `/owner/tiny/resolve/${sha}/model.safetensors`,
      weights.map((byte, i) => (i === 5_000_000 ? byte ^ 1 : byte)),
    )
    expect(await refusal("owner/tiny", hub())).toMatchObject({ code: "HUB_INCOMPLETE", message: expect.stringContaining("digest") })
  })

  it("says what a repository without weights has instead", async () => {
    tell("main", ["config.json", "pytorch_model.bin"])
    expect(await refusal("owner/tiny", hub())).toMatchObject({ code: "CHECKPOINT_PICKLE", fix: expect.stringContaining("owner/tiny-hf") })
    tell("main", ["README.md"])
    expect(await refusal("owner/tiny", hub())).toMatchObject({ code: "CHECKPOINT_EMPTY" })
  })

  it("that does not exist, or refuses, is a HubError", async () => {
    expect(await refusal("owner/none", hub())).toMatchObject({ code: "HUB_NOT_FOUND", status: 404 })
    server.answer = (_path, response) => {
      response.writeHead(401).end()
      return true
    }
    expect(await refusal("owner/tiny", hub())).toMatchObject({ code: "HUB_FORBIDDEN", status: 401, fix: expect.stringContaining("token") })
  })

  it("is not asked for a revision that is none", async () => {
    for (const revision of ["../x", "a b", ""]) expect(await refusal("owner/tiny", hub({ revision }))).toBeInstanceOf(OptionError)
    expect(server.asked).toEqual([])
  })
})
