import { createHash } from "node:crypto"
import { existsSync } from "node:fs"
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { CheckpointError, HubError, OptionError } from "../../ts/errors.ts"
import { encodeSafetensors } from "../../ts/io/safetensors.ts"
import { type Checkpoint, openCheckpoint, type Progress } from "../../ts/io/source.ts"

const sha = "0123456789abcdef0123456789abcdef01234567"
const golden = new URL("../golden/families/mamba/", import.meta.url)
const weights = await readFile(new URL("model.safetensors", golden))
const config = await readFile(new URL("config.json", golden))

/** A hub of one repository, `owner/tiny`; `files` and `answer` are a test's to change. */
let files: Map<string, Buffer>
let asked: { url: string; authorization: string | undefined; tag: string | undefined }[]
let answer: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined
let endpoint: string
let cache: string
let close: () => Promise<void>

const gitId = (bytes: Buffer): string => createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex")
const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex")
const json = (response: ServerResponse, value: unknown, status = 200): void => {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value))
}

function serve(request: IncomingMessage, response: ServerResponse): void {
  const url = request.url ?? ""
  asked.push({ url, authorization: request.headers.authorization, tag: request.headers["if-none-match"] })
  if (answer?.(request, response)) return
  const path = decodeURIComponent(url.split("?")[0] as string)
  if (
    path === "/api/models/owner/tiny/revision/main" ||
    path === `/api/models/owner/tiny/revision/${sha}` ||
    path === "/api/models/owner/tiny/revision/refs/pr/1"
  ) {
    json(response, { _id: "1", id: "owner/tiny", sha })
    return
  }
  if (path === `/api/models/owner/tiny/tree/${sha}`) {
    const entries = [...files].map(([name, bytes]) => {
      const lfs = name.endsWith(".safetensors") ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } } : {}
      return { type: "file", path: name, size: bytes.length, oid: gitId(bytes), ...lfs }
    })
    json(response, [{ type: "directory", path: "onnx", size: 0, oid: sha }, ...entries])
    return
  }
  const prefix = [`/owner/tiny/resolve/${sha}/`, "/plain/tiny/"].find((start) => path.startsWith(start))
  const bytes = prefix === undefined ? undefined : files.get(path.slice(prefix.length))
  if (bytes === undefined) {
    response.writeHead(404, { "x-error-code": "RepoNotFound" }).end()
    return
  }
  const tag = `"${sha256(bytes)}"`
  if (request.headers["if-none-match"] === tag) response.writeHead(304).end()
  else response.writeHead(200, { "content-length": bytes.length, etag: tag }).end(bytes)
}

beforeEach(async () => {
  asked = []
  answer = undefined
  files = new Map([
    ["config.json", config],
    ["model.safetensors", weights],
    ["README.md", Buffer.from("not wanted")],
  ])
  cache = await mkdtemp(join(tmpdir(), "statespace-hub-"))
  const server = createServer(serve)
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  close = () =>
    new Promise((done) => {
      server.close(() => done())
      server.closeAllConnections()
    })
  vi.stubEnv("HF_ENDPOINT", endpoint)
  vi.stubEnv("HF_HOME", cache)
  vi.stubEnv("XDG_CACHE_HOME", cache)
  for (const name of ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE"]) vi.stubEnv(name, undefined)
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await close()
  await rm(cache, { recursive: true, force: true })
})

const pathsOf = ({ files: read }: Checkpoint): unknown[] => read.map(({ path }) => path)
const storage = (): string => join(cache, "hub/models--owner--tiny")
const everything = async (): Promise<string[]> => ((await readdir(cache, { recursive: true })) as string[]).sort()

async function refusal(source: string, options = {}): Promise<HubError> {
  const error = await openCheckpoint(source, options).catch((caught: unknown) => caught)
  expect(error).toBeInstanceOf(HubError)
  return error as HubError
}

describe("a hub repository", () => {
  it("is downloaded into Python's cache layout, and only what loading reads", async () => {
    const heard: Progress[] = []
    const checkpoint = await openCheckpoint("owner/tiny", { onProgress: (progress) => heard.push(progress) })
    const snapshot = join(storage(), "snapshots", sha)
    expect(checkpoint).toMatchObject({ name: "owner/tiny", label: "owner/tiny@main (hub)" })
    expect(pathsOf(checkpoint)).toEqual([join(snapshot, "model.safetensors")])
    expect(checkpoint.config.hidden_size).toBe(48)
    expect(await readFile(join(storage(), "refs/main"), "utf8")).toBe(sha)
    expect((await readdir(snapshot)).sort()).toEqual(["config.json", "model.safetensors"])
    expect((await lstat(join(snapshot, "model.safetensors"))).isSymbolicLink()).toBe(true)
    expect((await readdir(join(storage(), "blobs"))).sort()).toEqual([gitId(config), sha256(weights)].sort())
    expect(heard[0]).toEqual({ phase: "source", file: "owner/tiny@main (hub)", loaded: 0 })
    expect(heard.at(-1)).toEqual({ phase: "download", file: "model.safetensors", loaded: weights.length, total: weights.length })
  })

  it("is not downloaded twice, and a new name for the same commit costs nothing", async () => {
    await openCheckpoint("owner/tiny")
    asked = []
    await openCheckpoint("owner/tiny")
    await openCheckpoint("owner/tiny@refs/pr/1")
    await openCheckpoint("owner/tiny", { revision: sha })
    expect(asked.filter(({ url }) => url.includes("/resolve/"))).toEqual([])
    expect(await readFile(join(storage(), "refs/refs/pr/1"), "utf8")).toBe(sha)
  })

  it("works from the cache without network: switched off, or not there", async () => {
    await openCheckpoint("owner/tiny")
    asked = []
    await openCheckpoint("owner/tiny", { localFilesOnly: true })
    await openCheckpoint(`owner/tiny@${sha}`, { localFilesOnly: true })
    vi.stubEnv("HF_HUB_OFFLINE", "1")
    await openCheckpoint("owner/tiny")
    expect(asked).toEqual([])
    vi.stubEnv("HF_HUB_OFFLINE", "0")
    await close()
    expect(pathsOf(await openCheckpoint("owner/tiny"))).toEqual([join(storage(), "snapshots", sha, "model.safetensors")])
  })

  it("says so when it is not in the cache and the network is off or not there", async () => {
    const off = await refusal("owner/tiny", { localFilesOnly: true })
    expect(off).toMatchObject({ code: "HUB_OFFLINE", url: `${endpoint}/owner/tiny`, status: undefined })
    expect(off.message).toContain("localFilesOnly")
    expect(asked).toEqual([])
    await close()
    const gone = await refusal("owner/tiny")
    expect(gone).toMatchObject({ code: "HUB_UNREACHABLE", message: expect.stringContaining("127.0.0.1") })
    expect(await everything()).toEqual([])
  })

  it("uses the folder of that name when there is one", async () => {
    const here = process.cwd()
    process.chdir(cache)
    try {
      await mkdir("owner/tiny", { recursive: true })
      await writeFile("owner/tiny/config.json", config)
      await writeFile("owner/tiny/model.safetensors", weights)
      const heard: Progress[] = []
      const { label } = await openCheckpoint("owner/tiny", { onProgress: (progress) => heard.push(progress) })
      expect(label).toBe("path owner/tiny")
      expect(heard).toEqual([{ phase: "source", file: label, loaded: 0 }])
      await expect(openCheckpoint("owner/tiny", { revision: "main" })).rejects.toMatchObject({ code: "OPTION_RANGE" })
    } finally {
      process.chdir(here)
    }
    expect(asked).toEqual([])
  })

  it("sends a token to the hub alone: the option, HF_TOKEN, or the stored one", async () => {
    await openCheckpoint("owner/tiny")
    expect(asked.every(({ authorization }) => authorization === undefined)).toBe(true)
    const tokens = async (options = {}): Promise<unknown[]> => {
      asked = []
      await openCheckpoint("owner/tiny", options)
      return [...new Set(asked.map(({ authorization }) => authorization))]
    }
    await writeFile(join(cache, "token"), "hf_stored\n")
    expect(await tokens()).toEqual(["Bearer hf_stored"])
    vi.stubEnv("HF_TOKEN", "hf_variable\n")
    expect(await tokens()).toEqual(["Bearer hf_variable"])
    expect(await tokens({ token: "any-shape" })).toEqual(["Bearer any-shape"])
    const elsewhere = createServer((request, response) => {
      asked.push({ url: `elsewhere${request.url}`, authorization: request.headers.authorization, tag: undefined })
      response.end(weights)
    })
    await new Promise<void>((done) => elsewhere.listen(0, "127.0.0.1", done))
    answer = (request, response) => {
      if (!request.url?.endsWith("model.safetensors")) return false
      response.writeHead(302, { location: `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/blob` }).end()
      return true
    }
    await rm(storage(), { recursive: true })
    await openCheckpoint("owner/tiny")
    expect(asked.at(-1)).toMatchObject({ url: "elsewhere/blob", authorization: undefined })
    elsewhere.closeAllConnections()
    await new Promise((done) => elsewhere.close(done))
  })

  it("comes in shards where the repository has them", async () => {
    const one = Buffer.from(encodeSafetensors(new Map([["a", { dtype: "f32", shape: [1], data: new Uint8Array(4) }]])))
    files.delete("model.safetensors")
    files.set("model-00001-of-00001.safetensors", one)
    files.set("model.safetensors.index.json", Buffer.from(JSON.stringify({ weight_map: { a: "model-00001-of-00001.safetensors" } })))
    expect((await openCheckpoint("owner/tiny")).tensors.map(({ name }) => name)).toEqual(["a"])
  })

  it("goes into cacheDir where that is given", async () => {
    const cacheDir = join(cache, "elsewhere")
    const paths = pathsOf(await openCheckpoint("owner/tiny", { cacheDir }))
    expect(paths).toEqual([join(cacheDir, "models--owner--tiny/snapshots", sha, "model.safetensors")])
    expect(existsSync(storage())).toBe(false)
  })

  it("with only a pickle is refused before any download", async () => {
    files.delete("model.safetensors")
    files.set("pytorch_model.bin", Buffer.from("PK"))
    const error = await openCheckpoint("owner/tiny").catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(CheckpointError)
    expect(error).toMatchObject({ code: "CHECKPOINT_PICKLE", fix: expect.stringContaining("owner/tiny-hf") })
    expect(await everything()).toEqual([])
  })

  it.each(["../x", "a..b", "-x", "a b", "x\\y", ""])("is not asked for the revision %j", async (revision) => {
    await expect(openCheckpoint("owner/tiny", { revision })).rejects.toBeInstanceOf(OptionError)
    expect(asked).toEqual([])
  })
})

describe("a hub that refuses", () => {
  const always = (status: number, headers = {}): void => {
    answer = (_request, response) => {
      response.writeHead(status, headers).end("{}")
      return true
    }
  }

  it.each([
    [401, { "x-error-code": "RepoNotFound" }, "HUB_FORBIDDEN", "HF_TOKEN"],
    [403, { "x-error-code": "GatedRepo" }, "HUB_FORBIDDEN", "accept"],
    [404, { "x-error-code": "RevisionNotFound" }, "HUB_NOT_FOUND", "revision"],
    [429, {}, "HUB_REFUSED", "later"],
    [500, {}, "HUB_REFUSED", "later"],
    [503, { "x-error-message": "maintenance" }, "HUB_REFUSED", "later"],
    [418, {}, "HUB_REFUSED", "address"],
  ])("with %i is a HubError that says what to do", async (status, headers, code, fix) => {
    always(status, headers)
    const error = await refusal("owner/tiny")
    expect(error).toMatchObject({ code, status, fix: expect.stringContaining(fix) })
    expect(error.url).toContain(endpoint)
    expect(error.message).toContain("owner/tiny@main")
    for (const value of Object.values(headers)) expect(error.message).toContain(value)
    expect(await everything()).toEqual([])
  })

  it("in the middle leaves whole files only, and the next call goes on from there", async () => {
    answer = (request, response) => {
      if (!request.url?.endsWith("model.safetensors")) return false
      response.writeHead(502).end()
      return true
    }
    expect(await refusal("owner/tiny")).toMatchObject({ code: "HUB_REFUSED", status: 502 })
    expect(await readdir(join(storage(), "blobs"))).toEqual([gitId(config)])
    expect(existsSync(join(storage(), "refs"))).toBe(false)
    answer = undefined
    asked = []
    await openCheckpoint("owner/tiny")
    expect(asked.filter(({ url }) => url.includes("/resolve/")).map(({ url }) => url)).toEqual([
      `/owner/tiny/resolve/${sha}/model.safetensors`,
    ])
  })

  it.each([
    [
      "breaks off",
      (response: ServerResponse) =>
        response.writeHead(200, { "content-length": weights.length }).write(weights.subarray(0, 1000), () => response.destroy()),
    ],
    ["is too short", (response: ServerResponse) => response.writeHead(200).end(weights.subarray(0, 1000))],
    ["is too long", (response: ServerResponse) => response.writeHead(200).end(Buffer.concat([weights, weights]))],
    ["has other bytes", (response: ServerResponse) => response.writeHead(200).end(Buffer.from(weights.map((byte) => byte ^ 1)))],
  ])("nothing is kept of a body that %s", async (_what, send) => {
    answer = (request, response) => {
      if (!request.url?.endsWith("model.safetensors")) return false
      send(response)
      return true
    }
    const error = await refusal("owner/tiny")
    expect(error).toMatchObject({ code: "HUB_INCOMPLETE", message: expect.stringContaining("model.safetensors") })
    expect((await everything()).filter((name) => name.includes("incomplete"))).toEqual([])
    expect(await readdir(join(storage(), "blobs"))).toEqual([gitId(config)])
  })

  it.each([
    ["no JSON", "<html>"],
    ["no commit", '{"id":"owner/tiny"}'],
    ["a commit that is a path", '{"id":"owner/tiny","sha":"../../../../x"}'],
  ])("answers with %s and is told apart", async (_what, body) => {
    answer = (_request, response) => {
      response.writeHead(200, { "content-type": "application/json" }).end(body)
      return true
    }
    expect(await refusal("owner/tiny")).toMatchObject({ code: "HUB_RESPONSE", fix: expect.stringContaining("HF_ENDPOINT") })
    expect(await everything()).toEqual([])
  })

  it("lists an object id that is a path and is told apart", async () => {
    answer = (request, response) => {
      if (!request.url?.includes("/tree/")) return false
      json(response, [{ type: "file", path: "config.json", size: 1, oid: "../../x" }])
      return true
    }
    expect(await refusal("owner/tiny")).toMatchObject({ code: "HUB_RESPONSE" })
  })

  it("a cache that cannot be written is named", async () => {
    await writeFile(join(cache, "hub"), "a file where the folder should be")
    expect(await refusal("owner/tiny")).toMatchObject({ code: "HUB_CACHE", fix: expect.stringContaining("HF_HOME") })
  })
})

describe("an abort", () => {
  it("while the hub is silent rejects with its reason and leaves nothing", async () => {
    const controller = new AbortController()
    const reason = new Error("enough")
    answer = () => {
      controller.abort(reason)
      return true
    }
    await expect(openCheckpoint("owner/tiny", { signal: controller.signal })).rejects.toBe(reason)
    expect(await everything()).toEqual([])
  })

  it("in the middle of a file rejects with its reason and leaves nothing half-written", async () => {
    const controller = new AbortController()
    const reason = new Error("enough")
    answer = (request, response) => {
      if (!request.url?.endsWith("model.safetensors")) return false
      response.writeHead(200, { "content-length": weights.length }).write(weights.subarray(0, 1000))
      return true
    }
    const onProgress = ({ phase, file, loaded }: Progress): void => {
      if (phase === "download" && file === "model.safetensors" && loaded > 0) controller.abort(reason)
    }
    await expect(openCheckpoint("owner/tiny", { signal: controller.signal, onProgress })).rejects.toBe(reason)
    expect(await readdir(join(storage(), "blobs"))).toEqual([gitId(config)])
    expect(existsSync(join(storage(), "refs"))).toBe(false)
  })
})

describe("a URL", () => {
  it("of a folder or of its file is copied into the cache, and again only when it changed", async () => {
    const first = await openCheckpoint(`${endpoint}/plain/tiny`)
    expect(first).toMatchObject({ name: "tiny", label: `URL ${endpoint}/plain/tiny` })
    expect(first.config.hidden_size).toBe(48)
    const whole = await openCheckpoint(new URL(`${endpoint}/plain/tiny/model.safetensors`))
    expect(pathsOf(whole)).toEqual(pathsOf(first))
    asked = []
    await openCheckpoint(`${endpoint}/plain/tiny/`)
    expect(asked.filter(({ tag }) => tag !== undefined).map(({ url }) => url)).toEqual([
      "/plain/tiny/config.json",
      "/plain/tiny/model.safetensors",
    ])
    files.set("config.json", Buffer.from('{"hidden_size": 7}'))
    expect((await openCheckpoint(`${endpoint}/plain/tiny`)).config).toEqual({ hidden_size: 7 })
  })

  it("brings tokenizer and shards along", async () => {
    const folder = fileURLToPath(new URL("../../models/rustbook-mamba1-2.8m/", import.meta.url))
    for (const name of ["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
      files.set(name, await readFile(join(folder, name)))
    files.delete("model.safetensors")
    files.set("model-1.safetensors", Buffer.from(encodeSafetensors(new Map([["a", { dtype: "u8", shape: [1], data: new Uint8Array(1) }]]))))
    files.set("model.safetensors.index.json", Buffer.from(JSON.stringify({ weight_map: { a: "model-1.safetensors" } })))
    const checkpoint = await openCheckpoint(`${endpoint}/plain/tiny`)
    expect(checkpoint.tokenizer?.vocabSize).toBe(4096)
    expect(checkpoint.generationConfig.eos_token_id).toBe(0)
    expect(checkpoint.unsupported.map(({ name }) => name)).toEqual(["a"])
  })

  it("works from the cache without network", async () => {
    await openCheckpoint(`${endpoint}/plain/tiny`)
    asked = []
    await openCheckpoint(`${endpoint}/plain/tiny`, { localFilesOnly: true })
    expect(asked).toEqual([])
    await close()
    expect((await openCheckpoint(`${endpoint}/plain/tiny`)).config.hidden_size).toBe(48)
  })

  it("that has nothing is a HubError", async () => {
    expect(await refusal(`${endpoint}/plain/other`)).toMatchObject({
      code: "HUB_NOT_FOUND",
      status: 404,
      url: `${endpoint}/plain/other/config.json`,
    })
    expect(await refusal(`${endpoint}/plain/other`, { localFilesOnly: true })).toMatchObject({ code: "HUB_OFFLINE" })
    expect(await everything()).toEqual([])
  })

  it("whose body breaks off leaves nothing half-written", async () => {
    answer = (request, response) => {
      if (!request.url?.endsWith("model.safetensors")) return false
      response.writeHead(200, { "content-length": weights.length }).write(weights.subarray(0, 1000), () => response.destroy())
      return true
    }
    expect(await refusal(`${endpoint}/plain/tiny`)).toMatchObject({ code: "HUB_INCOMPLETE" })
    expect((await everything()).filter((name) => /incomplete|model\.safetensors/.test(name))).toEqual([])
  })
})
