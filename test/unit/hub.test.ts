/** A hub repository: the cache it is kept in, its names, revisions and tokens. */
import { existsSync } from "node:fs"
import { lstat, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { describe, expect, it, vi } from "vitest"
import { CheckpointError, OptionError } from "../../ts/errors.ts"
import { encodeSafetensors } from "../../ts/io/safetensors.ts"
import { openCheckpoint, type Progress } from "../../ts/io/source.ts"
import { config, everything, gitId, hub, pathsOf, refusal, sha, sha256, storage, useHub, weights } from "../support/fake-hub.ts"

useHub()

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
    hub.asked = []
    await openCheckpoint("owner/tiny")
    await openCheckpoint("owner/tiny@refs/pr/1")
    await openCheckpoint("owner/tiny", { revision: sha })
    expect(hub.asked.filter(({ url }) => url.includes("/resolve/"))).toEqual([])
    expect(await readFile(join(storage(), "refs/refs/pr/1"), "utf8")).toBe(sha)
  })

  it("works from the cache without network: switched off, or not there", async () => {
    await openCheckpoint("owner/tiny")
    hub.asked = []
    await openCheckpoint("owner/tiny", { localFilesOnly: true })
    await openCheckpoint(`owner/tiny@${sha}`, { localFilesOnly: true })
    vi.stubEnv("HF_HUB_OFFLINE", "1")
    await openCheckpoint("owner/tiny")
    expect(hub.asked).toEqual([])
    vi.stubEnv("HF_HUB_OFFLINE", "0")
    await hub.close()
    expect(pathsOf(await openCheckpoint("owner/tiny"))).toEqual([join(storage(), "snapshots", sha, "model.safetensors")])
  })

  it("says so when it is not in the cache and the network is off or not there", async () => {
    const off = await refusal("owner/tiny", { localFilesOnly: true })
    expect(off).toMatchObject({ code: "HUB_OFFLINE", url: `${hub.endpoint}/owner/tiny`, status: undefined })
    expect(off.message).toContain("localFilesOnly")
    expect(hub.asked).toEqual([])
    await hub.close()
    const gone = await refusal("owner/tiny")
    expect(gone).toMatchObject({ code: "HUB_UNREACHABLE", message: expect.stringContaining("127.0.0.1") })
    expect(await everything()).toEqual([])
  })

  it("uses the folder of that name when there is one", async () => {
    const here = process.cwd()
    process.chdir(hub.cache)
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
    expect(hub.asked).toEqual([])
  })

  it("sends a token to the hub alone: the option, HF_TOKEN, or the stored one", async () => {
    await openCheckpoint("owner/tiny")
    expect(hub.asked.every(({ authorization }) => authorization === undefined)).toBe(true)
    const tokens = async (options = {}): Promise<unknown[]> => {
      hub.asked = []
      await openCheckpoint("owner/tiny", options)
      return [...new Set(hub.asked.map(({ authorization }) => authorization))]
    }
    await writeFile(join(hub.cache, "token"), "hf_stored\n")
    expect(await tokens()).toEqual(["Bearer hf_stored"])
    vi.stubEnv("HF_TOKEN", "hf_variable\n")
    expect(await tokens()).toEqual(["Bearer hf_variable"])
    expect(await tokens({ token: "any-shape" })).toEqual(["Bearer any-shape"])
    const elsewhere = createServer((request, response) => {
      hub.asked.push({ url: `elsewhere${request.url}`, authorization: request.headers.authorization, tag: undefined })
      response.end(weights)
    })
    await new Promise<void>((done) => elsewhere.listen(0, "127.0.0.1", done))
    hub.answer = (request, response) => {
      if (!request.url?.endsWith("model.safetensors")) return false
      response.writeHead(302, { location: `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/blob` }).end()
      return true
    }
    await rm(storage(), { recursive: true })
    await openCheckpoint("owner/tiny")
    expect(hub.asked.at(-1)).toMatchObject({ url: "elsewhere/blob", authorization: undefined })
    elsewhere.closeAllConnections()
    await new Promise((done) => elsewhere.close(done))
  })

  it("comes in shards where the repository has them", async () => {
    const one = Buffer.from(encodeSafetensors(new Map([["a", { dtype: "f32", shape: [1], data: new Uint8Array(4) }]])))
    hub.files.delete("model.safetensors")
    hub.files.set("model-00001-of-00001.safetensors", one)
    hub.files.set("model.safetensors.index.json", Buffer.from(JSON.stringify({ weight_map: { a: "model-00001-of-00001.safetensors" } })))
    expect((await openCheckpoint("owner/tiny")).tensors.map(({ name }) => name)).toEqual(["a"])
  })

  it("goes to memory alone where the cache is switched off", async () => {
    await writeFile(join(hub.cache, "token"), "hf_stored")
    for (const source of ["owner/tiny", `${hub.endpoint}/plain/tiny`]) {
      const checkpoint = await openCheckpoint(source, { cacheDir: false })
      const parts: Uint8Array[] = []
      for await (const piece of checkpoint.files[0]?.open() ?? []) parts.push(piece)
      expect(sha256(Buffer.concat(parts))).toBe(sha256(weights))
    }
    const tokens = hub.asked.map(({ url, authorization }) => [url.startsWith("/plain/"), authorization])
    expect(tokens.every(([plain, authorization]) => authorization === (plain ? undefined : "Bearer hf_stored"))).toBe(true)
    expect(await everything()).toEqual(["token"])
  })

  it("goes into cacheDir where that is given", async () => {
    const cacheDir = join(hub.cache, "elsewhere")
    const paths = pathsOf(await openCheckpoint("owner/tiny", { cacheDir }))
    expect(paths).toEqual([join(cacheDir, "models--owner--tiny/snapshots", sha, "model.safetensors")])
    expect(existsSync(storage())).toBe(false)
  })

  it("with only a pickle is refused before any download", async () => {
    hub.files.delete("model.safetensors")
    hub.files.set("pytorch_model.bin", Buffer.from("PK"))
    const error = await openCheckpoint("owner/tiny").catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(CheckpointError)
    expect(error).toMatchObject({ code: "CHECKPOINT_PICKLE", fix: expect.stringContaining("owner/tiny-hf") })
    expect(await everything()).toEqual([])
  })

  it.each(["../x", "a..b", "-x", "a b", "x\\y", ""])("is not asked for the revision %j", async (revision) => {
    await expect(openCheckpoint("owner/tiny", { revision })).rejects.toBeInstanceOf(OptionError)
    expect(hub.asked).toEqual([])
  })
})
