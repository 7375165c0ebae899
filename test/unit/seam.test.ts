/** The seam over the backend under test: values, order, state, weights. */
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { Engine, EngineOptions, TensorSource } from "../../ts/backend/interface.ts"
import { opset } from "../../ts/plan/lower.ts"
import { isCuda, isNative, relaxed } from "../support/backend.ts"
import { accumulate, backend, bytes, floats, ints, lookUp, needsBackend, softplus, softplusTwice } from "./seam-kit.ts"

needsBackend()

let engine: Engine
const open = async (options?: EngineOptions): Promise<Engine> => {
  await engine?.dispose()
  engine = await backend.open(options)
  return engine
}
beforeEach(async () => {
  await open({ threads: 2 })
})
afterEach(() => engine?.dispose())

test("says what it is", () => {
  const name = isCuda ? "cuda" : isNative ? "native" : "wasm"
  expect(backend.info()).toMatchObject({ name, opset, version: expect.stringMatching(/^\d+\.\d+\.\d+/) })
  if (isCuda) {
    const { isa, device } = engine.info()
    expect(isa).toMatch(/^sm_\d+$/)
    expect(device).toMatchObject({ index: 0, name: expect.any(String), capability: expect.stringMatching(/^\d+\.\d$/) })
    expect(device?.free).toBeLessThanOrEqual(device?.memory as number)
    return
  }
  expect(backend.info().isas.at(-1)).toBe(slowest)
  expect(backend.info().cores).toBeGreaterThanOrEqual(1)
  expect(engine.info()).toEqual({
    isa: backend.info().isas[0],
    threads: isNative ? 2 : backend.info().cores,
    bytes: { weights: 0, temp: 0, state: 0, io: 0, scratch: 0 },
  })
})

test("findings of the validator", () => {
  expect(backend.check(softplusTwice(3))).toEqual([])
  const broken = softplusTwice(3).replace('"out":[1]', '"out":[0]')
  expect(backend.check(broken).length).toBeGreaterThan(0)
  expect(backend.check(broken)[0]).toMatchObject({ code: expect.any(String), message: expect.any(String) })
  expect(backend.check("nonsense")).toHaveLength(1)
})

// A module with vectors goes without scalar code, which it would never run.
const slowest = isNative ? "scalar" : relaxed ? "relaxed-simd" : "simd128"
const modes: EngineOptions[] = [
  { executor: "reference" },
  { isa: slowest },
  { memory: "flat" },
  { memory: "planned", guard: true },
  { dump: true },
]
for (const options of modes) {
  test(`computes with ${JSON.stringify(options)}`, async (context) => {
    if (options.executor && !isNative) context.skip("the WebAssembly module has no f64 executor; its own test build has")
    await open(options)
    const program = await engine.load(softplusTwice(3), null)
    await engine.write(program, "x", bytes(-2, 0, 3))
    await engine.run(program, null)
    floats(await engine.read(program, "y")).forEach((y, i) => {
      expect(y).toBeCloseTo(softplus(softplus([-2, 0, 3][i] as number)), 5)
    })
  })
}

test("a dump keeps what every node gave", async () => {
  await open({ dump: true })
  const program = await engine.load(softplusTwice(2), null)
  await engine.write(program, "x", bytes(0, 1))
  await engine.run(program, null)
  const [first, second] = [await engine.read(program, "node.0.0"), await engine.read(program, "node.1.0")]
  expect(floats(first)[1]).toBeCloseTo(softplus(1), 5)
  expect(second).toEqual(await engine.read(program, "y"))
})

test("calls run in the order they were made, without being awaited", async () => {
  const program = await engine.load(softplusTwice(1), null)
  const reads: Promise<Uint8Array>[] = []
  for (let x = 0; x < 50; x++) {
    engine.write(program, "x", bytes(x))
    engine.run(program, null)
    reads.push(engine.read(program, "y"))
  }
  const got = (await Promise.all(reads)).flatMap(floats)
  got.forEach((y, x) => {
    expect(y).toBeCloseTo(softplus(softplus(x)), 4)
  })
})

test("bytes are copied before write returns, and a front may be written", async () => {
  const program = await engine.load(softplusTwice(3), null)
  const given = bytes(1, 2, 3)
  const written = engine.write(program, "x", given)
  given.fill(0)
  await written
  await engine.write(program, "x", bytes(7))
  expect(floats(await engine.read(program, "x"))).toEqual([7, 2, 3])
})

test("what was read belongs to the reader", async () => {
  const program = await engine.load(softplusTwice(1), null)
  await engine.write(program, "x", bytes(5))
  const first = await engine.read(program, "x")
  first.fill(0)
  expect(floats(await engine.read(program, "x"))).toEqual([5])
})

test("states hold what runs leave, are copied, and are apart", async () => {
  const program = await engine.load(accumulate(2), null)
  const [a, b] = await Promise.all([engine.state(program), engine.state(program)])
  await engine.write(program, "x", bytes(1, 10))
  await engine.run(program, a, { steps: 3 })
  expect(floats(await engine.read(a, "acc"))).toEqual([3, 30])
  expect(floats(await engine.read(b, "acc"))).toEqual([0, 0])
  await engine.copyState(b, a)
  await engine.run(program, b)
  expect(floats(await engine.read(b, "acc"))).toEqual([4, 40])
  expect(floats(await engine.read(a, "acc"))).toEqual([3, 30])
})

test("programs of equal layout share a state", async () => {
  const [one, other] = [await engine.load(accumulate(2), null), await engine.load(accumulate(2), null)]
  const state = await engine.state(one)
  await engine.write(one, "x", bytes(1, 1))
  await engine.write(other, "x", bytes(2, 2))
  await engine.run(one, state)
  await engine.run(other, state)
  expect(floats(await engine.read(state, "acc"))).toEqual([3, 3])
})

describe("weights", () => {
  // Three bytes that belong to nobody, so that nothing is aligned.
  const file = (...values: number[]): Uint8Array => Uint8Array.of(9, 9, 9, ...bytes(...values))
  const tensor = (shape: number[], more: Partial<TensorSource> = {}): TensorSource => {
    return { name: "table", file: 0, offset: 3, bytes: 4 * shape.reduce((a, b) => a * b, 1), dtype: "f32", shape, ...more }
  }
  async function row(source: Parameters<Engine["weights"]>[0], id: number): Promise<number[]> {
    const weights = await engine.weights(source)
    const program = await engine.load(lookUp(2, 3), weights)
    engine.release(weights)
    await engine.write(program, "tokens", ints(id))
    await engine.run(program, null)
    return floats(await engine.read(program, "y"))
  }

  test("from bytes, copied before the call returns", async () => {
    const given = file(1, 2, 3, 4, 5, 6)
    const read = row({ files: [new Uint8Array(), given], tensors: [tensor([2, 3], { file: 1 })] }, 1)
    given.fill(0)
    expect(await read).toEqual([4, 5, 6])
  })

  test("from streams, whose pieces end anywhere, beside bytes", async (context) => {
    if (isNative) context.skip("the native backend is given paths and bytes")
    const whole = file(1, 2, 3, 4, 5, 6)
    const stream = {
      bytes: whole.length,
      async *open() {
        for (let at = 0; at < whole.length; at += 5) yield whole.slice(at, at + 5)
      },
    }
    expect(await row({ files: [whole, stream], tensors: [tensor([2, 3], { file: 1 })] }, 1)).toEqual([4, 5, 6])
  })

  test("the first that is not finite, in order of the source", async () => {
    const files = [file(1, 2, Number.NaN, Number.NEGATIVE_INFINITY)]
    const parts = ["good", "bad", "worse"].map((name, i) => tensor([1], { name, offset: 3 + 4 * (i + 1) }))
    const [good, bad, worse] = parts as [TensorSource, TensorSource, TensorSource]
    const first = async (tensors: TensorSource[]): Promise<string | null> => engine.firstNonFinite(await engine.weights({ files, tensors }))
    expect(await first([good])).toBe(null)
    expect(await first([good, worse, bad])).toBe("worse")
    expect(await first([good, bad, worse])).toBe("bad")
  })
})

test("memory is counted and given back", async () => {
  // On a GPU kernels work in the slot of the active state.
  const scratch = isCuda ? expect.any(Number) : 0
  const program = await engine.load(softplusTwice(1000), null)
  const small = await engine.load(accumulate(10), null)
  const state = await engine.state(small)
  expect(engine.info().bytes).toEqual({ weights: 0, temp: 4096, state: 256, io: 8192 + 256, scratch })
  engine.release(program)
  await engine.read(state, "acc")
  expect(engine.info().bytes).toEqual({ weights: 0, temp: 0, state: 256, io: 256, scratch })
  engine.release(state)
  await engine.state(small)
  engine.release(small)
  await expect(engine.state(small)).rejects.toMatchObject({ code: "DEVICE_HANDLE" })
  expect(engine.info().bytes).toEqual({ weights: 0, temp: 0, state: 256, io: 0, scratch })
})
