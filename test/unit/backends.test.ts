/** Which backend is taken, what is said about it, and what each is handed. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, it, test, vi } from "vitest"
import type { Backend, FileStream, WeightsSource } from "../../ts/backend/interface.ts"
import { nullBackend } from "../../ts/backend/null.ts"
import { relaxedSimd } from "../../ts/backend/wasm/module.ts"
import { BackendUnavailableError, MemoryLimitError, PlanError } from "../../ts/errors.ts"
import { readCheckpoint } from "../../ts/io/file.ts"
import { handOver } from "../../ts/io/handover.ts"
import { decodeSafetensors } from "../../ts/io/safetensors.ts"
import type { CheckpointFile } from "../../ts/io/types.ts"
import { openCheckpoint } from "../../ts/io/web/source.ts"
import { families } from "../../ts/models/index.ts"
import { browser } from "../../ts/platform/browser.ts"
import type { BackendName, Platform } from "../../ts/platform/types.ts"
import { chooseBackend, makeInfo } from "../../ts/run/backends.ts"
import { loadFrom } from "../../ts/run/load.ts"
import { openModel } from "../../ts/run/model.ts"
import { fakeBackend } from "../support/fake-engine.ts"
import { serveFiles } from "../support/file-server.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const absent = (name: string, code = "BACKEND_UNAVAILABLE"): BackendUnavailableError =>
  new BackendUnavailableError(code, `No ${name} here.`, { backend: name, fix: `Install ${name}.` })
/** A backend whose engines are on a GPU with so much free memory. */
function gpu(free: number): Backend {
  const inner = fakeBackend()
  const device = { index: 0, name: "GPU", memory: 2 ** 40, free, capability: "9.0", driver: "13.0" }
  return {
    ...inner,
    name: "cuda",
    async open() {
      const engine = await inner.open()
      return { ...engine, info: () => ({ ...engine.info(), device }) }
    },
  }
}

/** A platform on which the named backends are there; it keeps what it warns of. */
function platform(...there: string[]): Platform & { warnings: string[][]; asked: unknown[] } {
  const warnings: string[][] = []
  const asked: unknown[] = []
  const backend = (name: string): Backend => ({ ...fakeBackend(), name })
  return {
    ...{ name: "node", order: ["cuda", "native", "wasm"], readsInEngine: false, warnings, asked },
    async backend(name, options) {
      asked.push([name, options])
      if (!there.includes(name)) throw absent(name)
      return backend(name)
    },
    status: (name) => ({ name, available: there.includes(name), ...(there.includes(name) ? {} : { reason: absent(name).message }) }),
    openCheckpoint: async () => readCheckpoint(`${root}test/golden/families/mamba`),
    memory: () => 2 ** 30,
    warn: (message, code) => void warnings.push([code, message]),
  }
}

describe("auto", () => {
  it("takes the first that is there, in silence", async () => {
    const both = platform("native", "wasm")
    expect((await chooseBackend(both)).name).toBe("native")
    expect(both.warnings).toEqual([])
  })

  it("warns once of a slower one, with reason and way out, and not when asked to be quiet", async () => {
    const one = platform("wasm")
    expect((await chooseBackend(one, "auto", { quiet: true })).name).toBe("wasm")
    expect(one.warnings).toEqual([])
    expect((await chooseBackend(one)).name).toBe("wasm")
    await chooseBackend(one, "auto")
    expect(one.warnings).toHaveLength(1)
    const [[code, message]] = one.warnings as [string[]]
    expect(code).toBe("STATESPACE_FALLBACK")
    for (const part of ["wasm", "No native here.", "Install native."]) expect(message).toContain(part)
  })

  it("is silent about a GPU that nobody has, not about one that is of no use", async () => {
    const one = platform("native")
    expect((await chooseBackend(one)).name).toBe("native")
    expect(one.warnings).toEqual([])
    const old = platform("native")
    const { backend } = old
    old.backend = (name, options) => (name === "cuda" ? Promise.reject(absent(name, "BACKEND_DEVICE")) : backend(name, options))
    expect((await chooseBackend(old)).name).toBe("native")
    expect(old.warnings).toEqual([["STATESPACE_FALLBACK", expect.stringContaining("No cuda here.")]])
  })

  it("has the reasons of all when there is none", async () => {
    const error = await chooseBackend(platform()).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(BackendUnavailableError)
    expect(error).toMatchObject({ backend: "auto", message: expect.stringMatching(/No native here\..*No wasm here\./) })
  })

  it("does not hide that the native module is another version's", async () => {
    const stale = platform("wasm")
    const other = new PlanError("PLAN_OPSET", "Another version.", { fix: "Build it.", issues: [] })
    stale.backend = (name) => (name === "wasm" ? Promise.resolve(fakeBackend()) : Promise.reject(other))
    await expect(chooseBackend(stale)).rejects.toBe(other)
  })
})

it("a backend that is named is that one or an error", async () => {
  const one = platform("wasm")
  await expect(chooseBackend(one, "native")).rejects.toMatchObject({ backend: "native" })
  expect((await chooseBackend(one, "wasm")).name).toBe("wasm")
  expect(one.warnings).toEqual([])
})

it("info says of each why it is not there or not taken", () => {
  const { auto, backends } = makeInfo(platform("native", "wasm"))
  expect(auto).toBe("native")
  expect(backends).toEqual([
    { name: "cuda", available: false, reason: "No cuda here. Install cuda." },
    { name: "native", available: true },
    { name: "wasm", available: true, note: "auto takes native" },
  ])
  expect(makeInfo(platform()).auto).toBeUndefined()
})

describe("a browser", () => {
  it("has wasm alone, and says when the page keeps it from using threads", async () => {
    vi.stubGlobal("navigator", { hardwareConcurrency: 8, deviceMemory: 8 })
    vi.stubGlobal("process", { ...process, getBuiltinModule: undefined })
    const page = browser()
    const status = (name: Exclude<BackendName, "auto">): unknown => page.status(name)
    expect(status("native")).toMatchObject({ available: false, reason: expect.stringContaining("browser") })
    expect(status("cuda")).toMatchObject({ available: false })
    expect(status("wasm")).toMatchObject({
      available: true,
      cores: 1,
      note: expect.stringMatching(/^single-threaded: .*not cross-origin isolated/),
    })
    vi.stubGlobal("crossOriginIsolated", true)
    const isas = relaxedSimd() ? ["relaxed-simd", "simd128"] : ["simd128"]
    expect(status("wasm")).toEqual({ name: "wasm", available: true, isas, cores: 4, note: "4 threads" })
    expect(page.memory()).toBe(2 ** 32)
    vi.unstubAllGlobals()
    await expect(page.backend("native", {})).rejects.toMatchObject({ backend: "native" })
    await expect(page.backend("wasm", {})).rejects.toMatchObject({ backend: "wasm", fix: expect.stringContaining("`wasm`") })
  })
})

describe("load", () => {
  it("passes on where the parts lie, and shows the backend that it took", async () => {
    const one = platform("wasm")
    const worker = (): object => ({})
    const model = await loadFrom(one, families, undefined, { wasm: "x.wasm", worker, threads: 2, quiet: true })
    expect(model.info().backend).toBe("wasm")
    expect(one.asked).toEqual([
      ["cuda", { nativePath: undefined, wasm: "x.wasm", worker, threads: 2 }],
      ["native", { nativePath: undefined, wasm: "x.wasm", worker, threads: 2 }],
      ["wasm", { nativePath: undefined, wasm: "x.wasm", worker, threads: 2 }],
    ])
    await model.dispose()
  })
})

describe("a GPU", () => {
  const on = (free: number): ReturnType<typeof platform> => {
    const found = platform("native")
    const { backend } = found
    found.backend = async (name, options) => (name === "cuda" ? gpu(free) : backend(name, options))
    return found
  }

  it("is taken by auto when the model fits", async () => {
    const roomy = on(2 ** 40)
    const model = await loadFrom(roomy, families, undefined)
    expect(model.info()).toMatchObject({ backend: "cuda", device: "GPU", compute: "f32" })
    expect(roomy.warnings).toEqual([])
    await model.dispose()
  })

  it("is left, with a warning, when it does not, and an error where it was named", async () => {
    const full = on(2 ** 20)
    const model = await loadFrom(full, families, undefined)
    expect(model.info().backend).toBe("native")
    expect(full.warnings).toEqual([["STATESPACE_FALLBACK", expect.stringMatching(/Running on native.*the limit of the GPU's free memory/)]])
    await model.dispose()
    await expect(loadFrom(full, families, undefined, { backend: "cuda" })).rejects.toMatchObject({ code: "MEMORY_LIMIT", limit: 2 ** 20 })
  })

  it("computes in bf16 where the weights have 16 bits, unless told otherwise", async () => {
    const checkpoint = await readCheckpoint(`${root}models/rustbook-mamba1-2.8m`)
    for (const [compute, made] of [
      [undefined, "bf16"],
      ["f32", "f32"],
    ] as const) {
      const model = await openModel({ checkpoint, families, backend: gpu(2 ** 40), compute })
      expect(model.info().compute).toBe(made)
      await model.dispose()
    }
    const native = await openModel({ checkpoint, families, backend: fakeBackend() })
    expect(native.info().compute).toBe("f32")
    await native.dispose()
  })
})

/** What the backend of that name is handed for these files. */
async function handed(name: string, files: (file: CheckpointFile) => CheckpointFile): Promise<WeightsSource> {
  const checkpoint = await readCheckpoint(`${root}test/golden/families/mamba`)
  let source: WeightsSource | undefined
  const inner = fakeBackend()
  const backend: Backend = {
    ...inner,
    name,
    async open() {
      const engine = await inner.open()
      const weights = (given: WeightsSource): ReturnType<typeof engine.weights> => {
        source = given
        return engine.weights(given)
      }
      return { ...engine, weights }
    },
  }
  const model = await openModel({ checkpoint: { ...checkpoint, files: checkpoint.files.map(files) }, families, backend })
  await model.dispose()
  return source as WeightsSource
}

test("native gets paths, or bytes where there are none; wasm gets streams", async () => {
  const path = `${root}test/golden/families/mamba/model.safetensors`
  const bytes = readFileSync(path)
  expect((await handed("native", (file) => file)).files).toEqual([path])
  const remote = ({ path: _path, readNow: _now, ...file }: CheckpointFile): CheckpointFile => file
  const [read] = (await handed("native", remote)).files
  expect(Buffer.compare(read as Uint8Array, bytes)).toBe(0)
  const data = new Uint8Array(bytes)
  expect((await handed("wasm", (file) => ({ ...file, data }))).files).toEqual([data])
  const [stream] = (await handed("wasm", (file) => file)).files as [FileStream]
  expect(stream.bytes).toBe(bytes.length)
  const parts: Uint8Array[] = []
  for await (const piece of stream.open()) parts.push(piece)
  expect(Buffer.compare(Buffer.concat(parts), bytes)).toBe(0)
})

describe("a file that is too large for one allocation", () => {
  const bytes = readFileSync(`${root}test/golden/families/mamba/model.safetensors`)

  test.each(["a stream", "bytes"])("is cut between tensors: %s", async (kind) => {
    const { files, tensors } = await readCheckpoint(`${root}test/golden/families/mamba`)
    const given = kind === "bytes" ? files.map((file) => ({ ...file, data: new Uint8Array(bytes) })) : files
    const handed = await handOver(given, tensors, "wasm", 20_000)
    expect(handed.files.length).toBeGreaterThan(3)
    const read: Buffer[] = []
    for (const file of handed.files) {
      const parts: Uint8Array[] = []
      if (file instanceof Uint8Array) parts.push(file)
      else for await (const piece of (file as FileStream).open()) parts.push(piece)
      read.push(Buffer.concat(parts))
      if (!(file instanceof Uint8Array)) expect(read.at(-1)?.length).toBe((file as FileStream).bytes)
    }
    expect(Buffer.compare(Buffer.concat(read), bytes)).toBe(0)
    expect(handed.tensors.map(({ name }) => name)).toEqual(tensors.map(({ name }) => name))
    for (const [i, tensor] of handed.tensors.entries()) {
      const { offset, bytes: size } = tensors[i]!
      const own = read[tensor.file]!.subarray(tensor.offset, tensor.offset + size)
      expect(Buffer.compare(own, bytes.subarray(offset, offset + size)), tensor.name).toBe(0)
      expect(read[tensor.file]!.length <= 20_000 || handed.tensors.filter(({ file }) => file === tensor.file).length === 1).toBe(true)
    }
  })

  test("lets go of its source when asked to, and at its end", async () => {
    const { files, tensors } = await readCheckpoint(`${root}test/golden/families/mamba`)
    for (const whole of [false, true]) {
      let open = 0
      const source = files.map((file) => ({
        ...file,
        async *open() {
          open++
          try {
            yield* file.open()
          } finally {
            open--
          }
        },
      }))
      const handed = await handOver(source, tensors, "wasm", 20_000)
      for (const file of handed.files as FileStream[]) {
        for await (const _ of file.open()) if (!whole) break
        if (!whole) break
      }
      if (!whole) await handed.close()
      expect(open).toBe(0)
    }
  })
})

test("a model whose weights stream by has the fingerprint of the one whose weights lie in a file", async () => {
  const checkpoint = await readCheckpoint(`${root}test/golden/families/mamba`)
  const saved = async (files: readonly CheckpointFile[]): Promise<string | undefined> => {
    const model = await openModel({ checkpoint: { ...checkpoint, files }, families, backend: fakeBackend() })
    const session = model.session()
    await session.feed([1, 2, 3])
    const { metadata } = decodeSafetensors(await session.save(), "state")
    await model.dispose()
    return metadata.model
  }
  const streamed = checkpoint.files.map(({ path: _path, readNow: _now, ...file }) => file)
  expect(await saved(streamed)).toMatch(/^[0-9a-f]{64}$/)
  expect(await saved(streamed)).toBe(await saved(checkpoint.files))
})

describe("what does not fit 4 GiB", () => {
  const config = {
    ...JSON.parse(readFileSync(`${root}test/golden/families/mamba/config.json`, "utf8")),
    ...{ hidden_size: 2560, intermediate_size: 5120, num_hidden_layers: 64, vocab_size: 50280, time_step_rank: 160, state_size: 16 },
  }
  const model = families[0]!.parse(config)

  /** The header of a checkpoint of 2.8 billion parameters; nothing comes after it. */
  function header(dtype: "BF16" | "F32"): { head: Uint8Array; bytes: number } {
    let at = 0
    const entries: Record<string, object> = {}
    for (const { key, shape } of model.weights.filter(({ optional }) => !optional)) {
      const size = shape.reduce((a, b) => a * b, dtype === "F32" ? 4 : 2)
      entries[key] = { dtype, shape, data_offsets: [at, at + size] }
      at += size
    }
    const text = new TextEncoder().encode(JSON.stringify(entries))
    const head = new Uint8Array(8 + text.length)
    new DataView(head.buffer).setBigUint64(0, BigInt(text.length), true)
    head.set(text, 8)
    return { head, bytes: head.length + at }
  }

  it("is refused by wasm before the weights are brought, and not by others", async () => {
    const { head, bytes } = header("BF16")
    const server = await serveFiles()
    server.files.set("/m/config.json", new TextEncoder().encode(JSON.stringify(config)))
    let closed = false
    server.answer = (path, response) => {
      if (!path.endsWith("model.safetensors")) return false
      response.writeHead(200, { "content-length": bytes }).write(head)
      response.once("close", () => {
        closed = true
      })
      return true
    }
    const page = platform("wasm")
    page.openCheckpoint = openCheckpoint
    const error = await loadFrom(page, families, `${server.origin}/m`, { quiet: true, cacheDir: false }).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(MemoryLimitError)
    expect(error).toMatchObject({ code: "MEMORY_LIMIT", limit: 2 ** 32, largest: "weights", message: expect.stringContaining("4.0 GiB") })
    expect((error as MemoryLimitError).needed).toBeGreaterThan(bytes)
    await vi.waitFor(() => expect(closed).toBe(true))
    const checkpoint = await openCheckpoint(`${server.origin}/m`, { cacheDir: false })
    const files = checkpoint.files.map((file) => ({ ...file, path: "mapped" }))
    await (await openModel({ checkpoint: { ...checkpoint, files }, families, backend: nullBackend() })).dispose()
    await checkpoint.files[0]?.close()
    await server.close()
  })
})
