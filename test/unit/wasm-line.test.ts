/** What drives the WebAssembly module, without it: the queue in one thread, and the line to a Worker with all that can go wrong on it. */
import { afterEach, describe, expect, test, vi } from "vitest"
import type { Engine, FileStream, ProgramHandle, StateHandle } from "../../ts/backend/interface.ts"
import { Direct } from "../../ts/backend/wasm/direct.ts"
import { openRemote } from "../../ts/backend/wasm/remote.ts"
import { packError, unpackError } from "../../ts/backend/wasm/wire.ts"
import * as errors from "../../ts/errors.ts"
import { type FakeShell, type FakeWorker, fakeShell, fakeWorker } from "../support/fake-shell.ts"

const { BackendUnavailableError, CheckpointError, DisposedError, EngineCrashedError, OptionError, PlanError } = errors
const artefact = { module: {}, threads: true }
const bytes = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer)
const value = async (read: Promise<Uint8Array>): Promise<number | undefined> => new Float32Array((await read).slice().buffer)[0]
const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => expect.unreachable("it went well"),
    (e: unknown) => e,
  )
const moment = (milliseconds = 20): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))
const endless = 0xffff_ffff

interface Kit {
  engine: Engine
  shell: FakeShell
  workers: FakeWorker[]
}
async function remote(pace = 0, threads = 1): Promise<Kit> {
  const shell = fakeShell(pace)
  const workers: FakeWorker[] = []
  const start = () => {
    const worker = fakeWorker(shell)
    workers.push(worker)
    return worker.port
  }
  return { engine: await openRemote(artefact, {}, threads, start), shell, workers }
}
async function direct(pace = 0): Promise<Kit> {
  const shell = fakeShell(pace)
  return { engine: new Direct(shell, { threads: 1 }), shell, workers: [] }
}
async function begun(engine: Engine): Promise<{ program: ProgramHandle; state: StateHandle }> {
  const program = await engine.load("sum", null)
  await engine.write(program, "x", bytes(1))
  return { program, state: await engine.state(program) }
}
/** A file of `count` pieces of `size` bytes, each filled with its number; `seen` is told of every piece that is asked for. */
function stream(count: number, size: number, more: Partial<FileStream> & { seen?: (n: number) => void } = {}): FileStream {
  return {
    bytes: count * size,
    async *open() {
      for (let i = 0; i < count; i++) {
        more.seen?.(i)
        yield new Uint8Array(size).fill(i)
      }
    },
    ...more,
  }
}
afterEach(() => vi.unstubAllGlobals())

describe.each([
  ["in this thread", direct],
  ["in a Worker", remote],
  [
    "in a Worker without shared memory",
    async (pace?: number) => {
      vi.stubGlobal("SharedArrayBuffer", undefined)
      vi.spyOn(process, "getBuiltinModule").mockReturnValue(undefined as never)
      const kit = await remote(pace)
      return kit
    },
  ],
] as const)("an engine %s", (_where, open) => {
  afterEach(() => vi.restoreAllMocks())

  test("calls run in order without being awaited, and bytes are copied when they are given", async () => {
    const { engine } = await open()
    const { program, state } = await begun(engine)
    const given = bytes(0)
    const reads = Array.from({ length: 20 }, (_, i) => {
      given.set(bytes(i))
      engine.write(program, "x", given)
      engine.run(program, state)
      return engine.read(state, "0")
    })
    let sum = 0
    for (const [i, read] of reads.entries()) expect(await value(read)).toBe((sum += i))
  })

  test("a Buffer, which may lie in memory of others, stays the caller's", async () => {
    const { engine } = await open()
    const { program, state } = await begun(engine)
    const buffer = Buffer.from(bytes(3, 4))
    const written = engine.write(program, "x", buffer.subarray(4))
    const stream = async function* () {
      yield buffer.subarray(0, 4)
    }
    const weights = engine.weights({ files: [buffer, { bytes: 4, open: stream }], tensors: [] })
    buffer.fill(0)
    await written
    await engine.run(program, state)
    expect(await value(engine.read(state, "0"))).toBe(4)
    expect(await value(engine.read((await weights) as never, "0"))).toBe(3)
    expect(buffer).toHaveLength(8)
  })

  test("an abort is seen in the middle of a run and rejects with the reason", async () => {
    const { engine, shell } = await open(1)
    const { program, state } = await begun(engine)
    const controller = new AbortController()
    const run = failure(engine.run(program, state, { steps: endless, signal: controller.signal }))
    setTimeout(() => controller.abort("enough"), 30)
    expect(await run).toBe("enough")
    expect(shell.log.at(-1)).toBe("cancel")
    await engine.write(state, "acc", bytes(5))
    await engine.run(program, state)
    expect(await value(engine.read(state, "0"))).toBe(6)
  })

  test("aborts of runs that wait their turn", async () => {
    const { engine, shell } = await open(1)
    const { program, state } = await begun(engine)
    const [first, second] = [new AbortController(), new AbortController()]
    const running = failure(engine.run(program, state, { steps: endless, signal: first.signal }))
    const waiting = [1, 2].map(() => failure(engine.run(program, state, { steps: endless, signal: second.signal })))
    second.abort("second")
    setTimeout(() => first.abort("first"), 30)
    expect(await Promise.all([running, ...waiting])).toEqual(["first", "second", "second"])
    expect(shell.log.filter((line) => line.startsWith("start"))).toHaveLength(1)
    expect(await failure(engine.run(program, state, { signal: AbortSignal.abort("early") }))).toBe("early")
  })

  test("refusals have the classes, codes and fields of this package", async () => {
    const { engine } = await open()
    const refused = (await failure(engine.load("refuse", null))) as errors.PlanError
    expect(refused).toBeInstanceOf(PlanError)
    expect(refused).toMatchObject({ code: "PLAN_INVALID", issues: [{ code: "bounds" }], fix: expect.stringMatching(/\.$/) })
    expect(await failure(engine.read(99 as never, "0"))).toMatchObject({ name: "DeviceError", code: "DEVICE_HANDLE" })
    expect(await failure(engine.weights({ files: ["x"], tensors: [] }))).toMatchObject({ message: expect.stringContaining("paths") })
  })

  test("files come from bytes and streams, in order and each in its place", async () => {
    const { engine, shell } = await open()
    const given = Uint8Array.of(7, 8, 9)
    const reading = engine.weights({ files: [stream(10, 1000), given, stream(0, 1), stream(3, 5)], tensors: [] })
    given.fill(0)
    const weights = await reading
    expect((await engine.read(weights as never, "0")).filter((_, i) => i % 1000 === 0)).toEqual(
      Uint8Array.from({ length: 10 }, (_, i) => i),
    )
    expect(await engine.read(weights as never, "1")).toEqual(Uint8Array.of(7, 8, 9))
    expect(await engine.read(weights as never, "3")).toEqual(Uint8Array.of(0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2))
    expect(shell.log.at(-1)).toBe("seal")
    expect(engine.info().bytes.weights).toBe(10_018)
  })

  test("large bytes are handed over in pieces", async () => {
    const { engine, shell } = await open()
    const weights = await engine.weights({ files: [new Uint8Array(9 * 2 ** 20).fill(7)], tensors: [] })
    expect(shell.log.filter((line) => line.startsWith("fill"))).toEqual([
      `fill 0 0 ${2 ** 22}`,
      `fill 0 ${2 ** 22} ${2 ** 22}`,
      `fill 0 ${2 ** 23} ${2 ** 20}`,
    ])
    expect((await engine.read(weights as never, "0")).every((byte) => byte === 7)).toBe(true)
  })

  test("a stream that fails is the caller's own error, and what was reserved is given back", async () => {
    const { engine, shell } = await open()
    const reason = new RangeError("the network is down")
    const failing = (after: number): FileStream =>
      stream(3, 100, {
        seen(n) {
          if (n === after) throw reason
        },
      })
    // The last one fails when all of its bytes have come, as a check of their hash does.
    const late: FileStream = {
      bytes: 100,
      async *open() {
        yield new Uint8Array(100)
        throw reason
      },
    }
    for (const file of [failing(0), failing(2), late]) {
      expect(await failure(engine.weights({ files: [file], tensors: [] }))).toBe(reason)
      expect(engine.info().bytes.weights).toBe(0)
    }
    expect(shell.log).not.toContain("seal")
  })

  test("a stream of another length than announced is refused", async () => {
    const { engine } = await open()
    for (const wrong of [stream(3, 100, { bytes: 299 }), stream(3, 100, { bytes: 301 })]) {
      const error = await failure(engine.weights({ files: [wrong], tensors: [] }))
      expect(error).toBeInstanceOf(CheckpointError)
      expect(error).toMatchObject({ code: "CHECKPOINT_READ", message: expect.stringContaining(String(wrong.bytes)) })
    }
    await engine.load("sum", null)
  })

  test("dispose waits for what came before, refuses what comes after, and may be called twice", async () => {
    const { engine, shell, workers } = await open()
    const { program, state } = await begun(engine)
    const run = engine.run(program, state, { steps: 100 })
    const read = engine.read(state, "0")
    const ended = [engine.dispose(), engine.dispose()]
    const late = await failure(engine.read(state, "0"))
    expect(late).toBeInstanceOf(DisposedError)
    await Promise.all([run, ...ended])
    expect(await value(read)).toBe(100)
    engine.release(program)
    expect(shell.freed).toBe(1)
    expect(engine.info().bytes).toEqual({ weights: 0, temp: 0, state: 0, io: 0, scratch: 0 })
    expect(workers.every(({ terminated }) => terminated)).toBe(true)
  })

  test("a trap is EngineCrashedError for what waits and for every later call; dispose still works", async () => {
    const { engine, workers } = await open()
    const { program, state } = await begun(engine)
    const calls = [engine.load("trap", null), engine.run(program, state), engine.read(state, "0")]
    for (const error of await Promise.all(calls.map(failure))) {
      expect(error).toBeInstanceOf(EngineCrashedError)
      expect(error).toMatchObject({ code: "ENGINE_CRASHED", message: expect.stringContaining("unreachable") })
    }
    expect(await failure(engine.load("sum", null))).toBeInstanceOf(EngineCrashedError)
    engine.release(program)
    await engine.dispose()
    expect(workers.every(({ terminated }) => terminated)).toBe(true)
  })
})

test("a run in this thread gives way to timers", async () => {
  const { engine } = await direct(1)
  const { program, state } = await begun(engine)
  let ticks = 0
  const timer = setInterval(() => ticks++, 1)
  await engine.run(program, state, { steps: 200 })
  clearInterval(timer)
  expect(ticks).toBeGreaterThanOrEqual(5)
})

describe("a Worker", () => {
  test("that ends or fails rejects everything pending and later; another one works", async () => {
    const { engine, workers } = await remote(1)
    const { program, state } = await begun(engine)
    const pending = [engine.run(program, state, { steps: endless }), engine.read(state, "0")].map(failure)
    workers[0]?.die("its Worker ended with code 5")
    for (const error of await Promise.all(pending)) {
      expect(error).toBeInstanceOf(EngineCrashedError)
      expect(error).toMatchObject({ message: expect.stringContaining("code 5") })
    }
    expect(await failure(engine.state(program))).toBeInstanceOf(EngineCrashedError)
    await engine.dispose()
    const other = await remote()
    await begun(other.engine)
  })

  test("that refuses the options says so as itself", async () => {
    const start = () => fakeWorker(fakeShell()).port
    const error = await failure(openRemote(artefact, { isa: "mmx" }, 1, start))
    expect(error).toBeInstanceOf(OptionError)
  })

  test("that never starts makes the backend unavailable, with the way out", async () => {
    const worker = fakeWorker(fakeShell())
    const opening = openRemote(artefact, {}, 1, () => {
      setImmediate(() => worker.die("its Worker's script could not be loaded"))
      return { ...worker.port, post() {} }
    })
    const error = await failure(opening)
    expect(error).toBeInstanceOf(BackendUnavailableError)
    expect(error).toMatchObject({
      backend: "wasm",
      message: expect.stringContaining("could not be loaded"),
      fix: expect.stringContaining("`worker`"),
    })
    expect(worker.terminated).toBe(true)
  })

  test("holds the process only while calls are pending", async () => {
    const { engine, workers } = await remote()
    const held = (): boolean | undefined => workers[0]?.held.at(-1)
    expect(held()).toBe(false)
    const loading = engine.load("sum", null)
    expect(held()).toBe(true)
    await loading
    expect(held()).toBe(false)
  })

  test("takes pieces of a file as fast as they reach their place, a few at a time", async () => {
    const { engine, workers } = await remote()
    let asked = 0
    // A run without end keeps the file waiting its turn.
    const { program, state } = await begun(engine)
    const controller = new AbortController()
    const run = failure(engine.run(program, state, { steps: endless, signal: controller.signal }))
    const file = stream(50, 1000, {
      seen: () => {
        asked++
      },
    })
    const weights = engine.weights({ files: [file], tensors: [] })
    await moment()
    expect(asked).toBeLessThanOrEqual(5)
    controller.abort()
    await run
    await weights
    expect(asked).toBe(50)
    expect(workers[0]?.heard.filter((message) => "stream" in message)).toHaveLength(51)
  })

  test("tokenizes while a run goes on, and refuses what is no tokenizer", async () => {
    const { engine } = await remote(1)
    const { program, state } = await begun(engine)
    const controller = new AbortController()
    const run = failure(engine.run(program, state, { steps: endless, signal: controller.signal }))
    const model = { type: "BPE", vocab: { a: 0, b: 1, ab: 2 }, merges: ["a b"], unk_token: null }
    const encoder = await engine.tokenizer?.(
      { model, added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null },
      {},
    )
    expect(await encoder?.encode("abba")).toEqual(Int32Array.of(2, 1, 0))
    const error = await failure(engine.tokenizer?.({}, {}) as Promise<unknown>)
    expect(error).toMatchObject({ name: "TokenizerError", code: "TOKENIZER_INVALID" })
    controller.abort()
    await run
  })

  test("with helper threads: each has its part, and the death of one is that of the engine", async () => {
    const { engine, workers } = await remote(0, 3)
    expect(workers).toHaveLength(3)
    expect(workers.slice(1).map(({ heard: [first] }) => first)).toMatchObject([
      { help: artefact, part: 1 },
      { help: artefact, part: 2 },
    ])
    workers[2]?.die("a helper is gone")
    expect(await failure(engine.load("sum", null))).toBeInstanceOf(EngineCrashedError)
    expect(workers.every(({ terminated }) => terminated)).toBe(true)
  })
})

test.each([true, false])("an abort is a flag where memory is shared, else a message (shared: %s)", async (shared) => {
  if (!shared) {
    vi.stubGlobal("SharedArrayBuffer", undefined)
    vi.spyOn(process, "getBuiltinModule").mockReturnValue(undefined as never)
  }
  const { engine, workers } = await remote(1)
  const { program, state } = await begun(engine)
  const controller = new AbortController()
  const run = failure(engine.run(program, state, { steps: endless, signal: controller.signal }))
  controller.abort("enough")
  expect(await run).toBe("enough")
  expect(workers[0]?.heard.some((message) => "abort" in message)).toBe(!shared)
  vi.restoreAllMocks()
})

test("a trap in a helper thread, for which the engine would wait for ever, is a crash", async () => {
  const shell = fakeShell()
  shell.workThread = () => {
    throw new Error("unreachable")
  }
  const workers: FakeWorker[] = []
  const start = () => {
    workers.push(fakeWorker(shell))
    return workers.at(-1)!.port
  }
  const engine = await openRemote(artefact, {}, 2, start)
  await moment()
  expect(await failure(engine.load("sum", null))).toMatchObject({ code: "ENGINE_CRASHED", message: expect.stringContaining("unreachable") })
  expect(workers.every(({ terminated }) => terminated)).toBe(true)
})

describe("errors on the line", () => {
  const made: errors.StatespaceError[] = [
    new errors.HubError("HUB_STATUS", "No.", { fix: "Wait.", status: 503, url: "https://x", cause: new TypeError("inner") }),
    new errors.MemoryLimitError("MEMORY_LIMIT", "Too much.", { fix: "Less.", needed: 3, limit: 2, largest: "weights" }),
    new errors.PlanError("PLAN_INVALID", "Bad.", { fix: "Good.", issues: [{ code: "x", node: 3, message: "m" }] }),
    new errors.BackendUnavailableError("BACKEND_UNAVAILABLE", "None.", { fix: "Some.", backend: "wasm" }),
  ]
  test.each(made.map((error) => [error.name, error] as const))("%s keeps class, message and fields", (_name, error) => {
    const there = unpackError(structuredClone(packError(error)))
    expect(there).toBeInstanceOf(error.constructor)
    expect(there.message).toBe(error.message)
    expect({ ...there }).toEqual({ ...error })
    expect((there.cause as Error | undefined)?.message).toBe((error.cause as Error | undefined)?.message)
  })
  test("other errors and other values keep name and text", () => {
    expect(unpackError(packError(new RangeError("far")))).toMatchObject({ name: "RangeError", message: "far" })
    expect(unpackError(packError("text")).message).toBe("text")
  })
})
