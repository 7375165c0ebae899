/** A checkpoint at a URL. */
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { encodeSafetensors } from "../../ts/io/safetensors.ts"
import { openCheckpoint } from "../../ts/io/source.ts"
import { everything, hub, pathsOf, refusal, useHub, weights } from "../support/fake-hub.ts"

useHub()

describe("a URL", () => {
  it("of a folder or of its file is copied into the cache, and again only when it changed", async () => {
    const first = await openCheckpoint(`${hub.endpoint}/plain/tiny`)
    expect(first).toMatchObject({ name: "tiny", label: `URL ${hub.endpoint}/plain/tiny` })
    expect(first.config.hidden_size).toBe(48)
    const whole = await openCheckpoint(new URL(`${hub.endpoint}/plain/tiny/model.safetensors`))
    expect(pathsOf(whole)).toEqual(pathsOf(first))
    hub.asked = []
    await openCheckpoint(`${hub.endpoint}/plain/tiny/`)
    expect(hub.asked.filter(({ tag }) => tag !== undefined).map(({ url }) => url)).toEqual([
      "/plain/tiny/config.json",
      "/plain/tiny/model.safetensors",
    ])
    hub.files.set("config.json", Buffer.from('{"hidden_size": 7}'))
    expect((await openCheckpoint(`${hub.endpoint}/plain/tiny`)).config).toEqual({ hidden_size: 7 })
  })

  it("brings tokenizer and shards along", async () => {
    const folder = fileURLToPath(new URL("../../models/rustbook-mamba1-2.8m/", import.meta.url))
    for (const name of ["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
      hub.files.set(name, await readFile(join(folder, name)))
    hub.files.delete("model.safetensors")
    hub.files.set(
      "model-1.safetensors",
      Buffer.from(encodeSafetensors(new Map([["a", { dtype: "u8", shape: [1], data: new Uint8Array(1) }]]))),
    )
    hub.files.set("model.safetensors.index.json", Buffer.from(JSON.stringify({ weight_map: { a: "model-1.safetensors" } })))
    const checkpoint = await openCheckpoint(`${hub.endpoint}/plain/tiny`)
    expect(checkpoint.tokenizer?.vocabSize).toBe(4096)
    expect(checkpoint.generationConfig.eos_token_id).toBe(0)
    expect(checkpoint.unsupported.map(({ name }) => name)).toEqual(["a"])
  })

  it("works from the cache without network", async () => {
    await openCheckpoint(`${hub.endpoint}/plain/tiny`)
    hub.asked = []
    await openCheckpoint(`${hub.endpoint}/plain/tiny`, { localFilesOnly: true })
    expect(hub.asked).toEqual([])
    await hub.close()
    expect((await openCheckpoint(`${hub.endpoint}/plain/tiny`)).config.hidden_size).toBe(48)
  })

  it("that has nothing is a HubError", async () => {
    expect(await refusal(`${hub.endpoint}/plain/other`)).toMatchObject({
      code: "HUB_NOT_FOUND",
      status: 404,
      url: `${hub.endpoint}/plain/other/config.json`,
    })
    expect(await refusal(`${hub.endpoint}/plain/other`, { localFilesOnly: true })).toMatchObject({ code: "HUB_OFFLINE" })
    expect(await everything()).toEqual([])
  })

  it("whose body breaks off leaves nothing half-written", async () => {
    hub.answer = (request, response) => {
      if (!request.url?.endsWith("model.safetensors")) return false
      response.writeHead(200, { "content-length": weights.length }).write(weights.subarray(0, 1000), () => response.destroy())
      return true
    }
    expect(await refusal(`${hub.endpoint}/plain/tiny`)).toMatchObject({ code: "HUB_INCOMPLETE" })
    expect((await everything()).filter((name) => /incomplete|model\.safetensors/.test(name))).toEqual([])
  })
})
