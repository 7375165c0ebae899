/** The public calls on wasm, from wherever a model comes; and what a machine without native code hears. */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { type LoadOptions, load, type Model } from "../../ts/index.ts"
import type { CheckpointSource } from "../../ts/io/types.ts"
import { selectiveScan } from "../../ts/ops.ts"
import { tiny } from "../../ts/tiny.ts"
import { cli } from "../support/cli.ts"
import { type FileServer, serveFiles } from "../support/file-server.ts"
import { needsWasm } from "./kit.ts"

needsWasm()

const root = fileURLToPath(new URL("../..", import.meta.url))
const folder = `${root}models/rustbook-mamba1-2.8m/`
const names = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
const bytesOf = (name: string): Uint8Array => new Uint8Array(readFileSync(folder + name))
const wasm: LoadOptions = { backend: "wasm", threads: 1, cacheDir: false }

let server: FileServer
beforeAll(async () => {
  server = await serveFiles()
  for (const name of names) server.files.set(`/tiny/${name}`, bytesOf(name))
})
afterAll(() => server.close())

/** A few likeliest tokens, and the snapshot after them. */
async function use(model: Model): Promise<{ tokens: number[]; state: Uint8Array; backend: string }> {
  const session = model.session()
  await session.feed("The compiler will")
  const { tokens } = await session.generate({ maxNewTokens: 12 }).result()
  const state = await session.save()
  const { backend } = model.info()
  await model.dispose()
  return { tokens, state, backend }
}

describe("a model", () => {
  test.each<[string, () => CheckpointSource | undefined]>([
    ["embedded", () => undefined],
    ["in parts", () => tiny],
    ["in a folder", () => folder],
    ["behind an address", () => `${server.origin}/tiny`],
    ["in files", () => names.map((name) => new File([bytesOf(name)], name))],
    [
      "in memory",
      () => ({
        config: JSON.parse(readFileSync(`${folder}config.json`, "utf8")),
        weights: bytesOf("model.safetensors"),
        tokenizer: bytesOf("tokenizer.json"),
      }),
    ],
  ])("%s is the same on wasm, and its conversations go on across backends", async (_what, source) => {
    const [native, here] = [await use(await load()), await use(await load(source(), wasm))]
    expect([native.backend, here.backend]).toEqual(["native", "wasm"])
    expect(here.tokens).toEqual(native.tokens)
    const goesOn = async (model: Model, state: Uint8Array): Promise<number[]> => {
      const { tokens } = await model.session(state).generate({ maxNewTokens: 12 }).result()
      await model.dispose()
      return tokens
    }
    const expected = await goesOn(await load(), native.state)
    expect(await goesOn(await load(), here.state)).toEqual(expected)
    expect(await goesOn(await load(source(), wasm), native.state)).toEqual(expected)
  })

  test("whose weights break off or are given up in the middle is refused, and the next load works", async () => {
    server.answer = (path, response) => {
      if (!path.endsWith("model.safetensors")) return false
      const weights = bytesOf("model.safetensors")
      response.writeHead(200, { "content-length": weights.length }).write(weights.subarray(0, 3_000_000), () => response.destroy())
      return true
    }
    await expect(load(`${server.origin}/tiny`, wasm)).rejects.toMatchObject({ code: "HUB_INCOMPLETE" })
    server.answer = undefined
    const controller = new AbortController()
    const reason = new Error("enough")
    const onProgress: LoadOptions["onProgress"] = ({ file, loaded }) => {
      if (file === "model.safetensors" && loaded > 2_000_000) controller.abort(reason)
    }
    await expect(load(`${server.origin}/tiny`, { ...wasm, onProgress, signal: controller.signal })).rejects.toBe(reason)
    expect((await use(await load(`${server.origin}/tiny`, wasm))).tokens).toHaveLength(12)
  })
})

test("selectiveScan is the same on wasm", async () => {
  const numbers = (count: number, scale: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(i * 1.7) * scale)
  const [length, channels, state] = [33, 6, 4]
  const input = {
    ...{ layout: "bld" as const, deltaSoftplus: true },
    u: { data: numbers(length * channels, 1), shape: [length, channels] },
    delta: { data: numbers(length * channels, 0.5), shape: [length, channels] },
    A: { data: numbers(channels * state, 1).map((x) => -Math.abs(x) - 0.1), shape: [channels, state] },
    B: { data: numbers(length * state, 0.7), shape: [length, state] },
    C: { data: numbers(length * state, 0.9), shape: [length, state] },
  }
  const [native, here] = [await selectiveScan(input), await selectiveScan(input, { backend: "wasm" })]
  expect(here.out.shape).toEqual(native.out.shape)
  for (const [i, x] of native.out.data.entries()) expect(Math.abs((here.out.data[i] as number) - x)).toBeLessThanOrEqual(1e-5)
})

describe("without native code", () => {
  const env = { ...process.env, STATESPACE_NATIVE: "/nowhere/statespace.node" }
  const program = (options: string): string => `
    const { load, info } = await import("./ts/index.ts")
    for (let i = 0; i < 2; i++) {
      const model = await load(undefined, ${options})
      console.log(model.info().backend, (await model.complete("The compiler", { maxNewTokens: 4 })).tokens.length)
      await model.dispose()
    }
    console.log(info().auto)`
  const run = (options = "{}"): { stdout: string; stderr: string; status: number | null } =>
    spawnSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", program(options)], { cwd: root, encoding: "utf8", env })

  test("auto takes wasm, says so once with reason and way out, and the process ends", () => {
    const { stdout, stderr, status } = run()
    expect(stdout).toBe("wasm 4\nwasm 4\nwasm\n")
    expect(stderr.match(/STATESPACE_FALLBACK/g)).toHaveLength(1)
    expect(stderr).toContain("/nowhere/statespace.node")
    expect(status).toBe(0)
  })

  test("quiet says nothing, and native is refused by name", () => {
    expect(run("{ quiet: true }")).toMatchObject({ stderr: "", status: 0 })
    expect(run('{ backend: "native" }').stderr).toContain("BackendUnavailableError")
  })

  test("the command line takes --backend wasm", () => {
    const words = ["generate", "The compiler will", "--max-new-tokens", "4", "--json"]
    const here = cli([...words, "--backend", "wasm"], { env })
    expect(here).toMatchObject({ stderr: "", code: 0 })
    expect(JSON.parse(here.stdout.trim().split("\n").at(-1) as string).tokens).toHaveLength(4)
    const lines = cli(["devices", "--json"], { env })
      .stdout.trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    expect(lines.map(({ name, available, auto }) => [name, available, auto])).toEqual([
      ["cuda", false, false],
      ["native", false, false],
      ["wasm", true, true],
    ])
  })
})
