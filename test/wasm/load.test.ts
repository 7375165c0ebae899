/** The module and the Worker from whatever the caller has, and what is said when they are not there. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Worker } from "node:worker_threads"
import { afterEach, describe, expect, test, vi } from "vitest"
import { assets } from "../../ts/backend/wasm/assets.ts"
import { loadWasm, type WasmOptions } from "../../ts/backend/wasm/index.ts"
import { relaxedSimd } from "../../ts/backend/wasm/module.ts"
import { BackendUnavailableError, PlanError } from "../../ts/errors.ts"
import { opset } from "../../ts/plan/lower.ts"
import { accumulate, bytes, floats, softplus, softplusTwice } from "../unit/seam-kit.ts"
import { needsWasm, wasm } from "./kit.ts"

needsWasm()
afterEach(() => vi.restoreAllMocks())

declare const WebAssembly: { compile(bytes: Uint8Array): Promise<object>; validate(bytes: Uint8Array): boolean }

async function computes(options: WasmOptions): Promise<void> {
  const engine = await (await wasm(options)).open()
  const program = await engine.load(softplusTwice(2), null)
  await engine.write(program, "x", bytes(-1, 2))
  await engine.run(program, null)
  const [a, b] = floats(await engine.read(program, "y"))
  expect(a).toBeCloseTo(softplus(softplus(-1)), 5)
  expect(b).toBeCloseTo(softplus(softplus(2)), 5)
  await engine.dispose()
}
async function refusal(options: WasmOptions): Promise<BackendUnavailableError> {
  const error = await wasm(options)
    .then((backend) => backend.open())
    .then(
      () => expect.unreachable("it was loaded"),
      (e: unknown) => e,
    )
  expect(error).toBeInstanceOf(BackendUnavailableError)
  expect(error).toMatchObject({ code: "BACKEND_UNAVAILABLE", backend: "wasm", fix: expect.stringMatching(/\.$/) })
  return error as BackendUnavailableError
}

describe("the module", () => {
  const url = assets.wasm(false, false)
  const read = (): Uint8Array<ArrayBuffer> => new Uint8Array(readFileSync(url))
  const typed = (type: string): Response => new Response(read(), { headers: { "content-type": type } })
  test.each<[string, () => object | string | Promise<object>]>([
    ["a URL", () => url],
    ["the text of a URL", () => url.href],
    ["a path", () => fileURLToPath(url)],
    ["a data URL", () => `data:application/wasm;base64,${readFileSync(url, "base64")}`],
    ["bytes", () => read()],
    ["a buffer", () => read().buffer],
    ["a Response", () => typed("application/wasm")],
    ["a Response of another type", () => typed("application/octet-stream")],
    ["the promise of a Response", async () => typed("application/wasm")],
    ["a module", () => WebAssembly.compile(read())],
    ["the module with threads", () => assets.wasm(true, false)],
  ])("from %s", async (_what, make) => {
    await computes({ wasm: await make(), threads: 2 })
  })

  test.each<[string, string | object, RegExp]>([
    ["a path that leads nowhere", "nowhere/engine.wasm", /nowhere\/engine\.wasm/],
    ["bytes of something else", new TextEncoder().encode("<!doctype html>"), /magic|compile/i],
    ["an answer that is a refusal", new Response("no", { status: 404 }), /404/],
  ])("not from %s", async (_what, source, says) => {
    expect((await refusal({ wasm: source })).message).toMatch(says)
  })

  test("not where there are no SIMD instructions", async () => {
    vi.spyOn(WebAssembly, "validate").mockReturnValue(false)
    expect((await refusal({ wasm: read() })).message).toMatch(/SIMD/)
  })

  test.each([true, false])(
    "of relaxed instructions, with threads: %s, where this engine has them, and an error where not",
    async (threads) => {
      const given = assets.wasm(threads, true)
      if (relaxedSimd()) await computes({ wasm: given, threads: 2 })
      else
        expect(await refusal({ wasm: given })).toMatchObject({
          message: expect.stringContaining(given.href),
          fix: expect.stringContaining("engine.wasm"),
        })
    },
  )

  test("of another op table is refused with both hashes", async () => {
    const stale = read()
    const other = "0123456789abcdef"
    for (let at = -1; (at = Buffer.from(stale.buffer).indexOf(opset, at + 1)) >= 0; ) stale.set(new TextEncoder().encode(other), at)
    const error = await wasm({ wasm: stale }).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(PlanError)
    expect(error).toMatchObject({ code: "PLAN_OPSET", message: expect.stringMatching(new RegExp(`${other}.*${opset}`)) })
  })

  test("an entry without assets asks for both parts", async () => {
    await expect(loadWasm({})).rejects.toThrow(/module.*`wasm`/s)
    await expect(loadWasm({ wasm: url })).rejects.toThrow(/Worker.*`worker`/s)
    await (await (await loadWasm({ wasm: url, worker: false })).open()).dispose()
  })
})

describe("the Worker", () => {
  test.each<[string, () => WasmOptions["worker"]]>([
    ["a URL", () => assets.worker()],
    ["the text of a URL", () => assets.worker().href],
    ["a path", () => fileURLToPath(assets.worker())],
    ["a function", () => () => new Worker(assets.worker())],
    ["nobody: this thread computes", () => false],
  ])("from %s", async (_what, make) => {
    await computes({ worker: make() })
  })

  test("not from a file that is not there, or is something else", async () => {
    expect((await refusal({ worker: new URL("nowhere.js", import.meta.url) })).message).toMatch(/Worker could not be started.*nowhere/s)
    const silent = () => new Worker("process.exit(3)", { eval: true })
    expect((await refusal({ worker: silent })).message).toMatch(/code 3/)
  })

  test("threads are those asked for, where memory can be shared", async () => {
    const threads = async (options: WasmOptions, more: object = {}): Promise<number> => {
      const engine = await (await wasm(options)).open(more)
      const { threads } = engine.info()
      await engine.dispose()
      return threads
    }
    expect(await threads({ threads: 3 })).toBe(3)
    expect(await threads({ threads: 3 }, { threads: 2 })).toBe(2)
    expect(await threads({ threads: 1 }, { threads: 2 })).toBe(1)
    expect(await threads({ worker: false, threads: 2 })).toBe(1)
  })
})

test("threads compute what one computes", async () => {
  const sum = async (threads: number): Promise<number[]> => {
    const engine = await (await wasm({ threads })).open()
    const program = await engine.load(accumulate(1000), null)
    const state = await engine.state(program)
    await engine.write(program, "x", bytes(...Array.from({ length: 1000 }, (_, i) => i / 7)))
    await engine.run(program, state, { steps: 50 })
    const values = floats(await engine.read(state, "acc"))
    await engine.dispose()
    return values
  }
  const one = await sum(1)
  for (const threads of [2, 3, 7]) expect(await sum(threads)).toEqual(one)
})
