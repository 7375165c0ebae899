/** A hub that refuses, breaks off or is aborted: typed errors, and nothing half-written. */
import { existsSync } from "node:fs"
import { readdir, writeFile } from "node:fs/promises"
import type { ServerResponse } from "node:http"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { openCheckpoint, type Progress } from "../../ts/io/source.ts"
import { config, everything, gitId, hub, json, refusal, sha, storage, useHub, weights } from "../support/fake-hub.ts"

useHub()

describe("a hub that refuses", () => {
  const always = (status: number, headers = {}): void => {
    hub.answer = (_request, response) => {
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
    expect(error.url).toContain(hub.endpoint)
    expect(error.message).toContain("owner/tiny@main")
    for (const value of Object.values(headers)) expect(error.message).toContain(value)
    expect(await everything()).toEqual([])
  })

  it("in the middle leaves whole files only, and the next call goes on from there", async () => {
    hub.answer = (request, response) => {
      if (!request.url?.endsWith("model.safetensors")) return false
      response.writeHead(502).end()
      return true
    }
    expect(await refusal("owner/tiny")).toMatchObject({ code: "HUB_REFUSED", status: 502 })
    expect(await readdir(join(storage(), "blobs"))).toEqual([gitId(config)])
    expect(existsSync(join(storage(), "refs"))).toBe(false)
    hub.answer = undefined
    hub.asked = []
    await openCheckpoint("owner/tiny")
    expect(hub.asked.filter(({ url }) => url.includes("/resolve/")).map(({ url }) => url)).toEqual([
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
    hub.answer = (request, response) => {
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
    hub.answer = (_request, response) => {
      response.writeHead(200, { "content-type": "application/json" }).end(body)
      return true
    }
    expect(await refusal("owner/tiny")).toMatchObject({ code: "HUB_RESPONSE", fix: expect.stringContaining("HF_ENDPOINT") })
    expect(await everything()).toEqual([])
  })

  it("lists an object id that is a path and is told apart", async () => {
    hub.answer = (request, response) => {
      if (!request.url?.includes("/tree/")) return false
      json(response, [{ type: "file", path: "config.json", size: 1, oid: "../../x" }])
      return true
    }
    expect(await refusal("owner/tiny")).toMatchObject({ code: "HUB_RESPONSE" })
  })

  it("a cache that cannot be written is named", async () => {
    await writeFile(join(hub.cache, "hub"), "a file where the folder should be")
    expect(await refusal("owner/tiny")).toMatchObject({ code: "HUB_CACHE", fix: expect.stringContaining("HF_HOME") })
  })
})

describe("an abort", () => {
  it("while the hub is silent rejects with its reason and leaves nothing", async () => {
    const controller = new AbortController()
    const reason = new Error("enough")
    hub.answer = () => {
      controller.abort(reason)
      return true
    }
    await expect(openCheckpoint("owner/tiny", { signal: controller.signal })).rejects.toBe(reason)
    expect(await everything()).toEqual([])
  })

  it("in the middle of a file rejects with its reason and leaves nothing half-written", async () => {
    const controller = new AbortController()
    const reason = new Error("enough")
    hub.answer = (request, response) => {
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
