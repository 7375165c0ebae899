/** The null backend: it takes what an engine takes, refuses what an engine refuses, and forecasts. */
import { beforeEach, describe, expect, test } from "vitest"
import type { ProgramHandle, StateHandle, WeightsHandle } from "../../ts/backend/interface.ts"
import { type NullEngine, nullBackend } from "../../ts/backend/null.ts"
import { DeviceError, DisposedError, PlanError } from "../../ts/errors.ts"
import { configs, planOf, specs } from "../support/plans.ts"

const step = planOf("tiny", specs.step as never)
let engine: NullEngine
let weights: WeightsHandle
let program: ProgramHandle
let state: StateHandle
beforeEach(async () => {
  engine = await nullBackend().open()
  weights = await engine.weights({ files: ["w"], tensors: [] })
  program = await engine.load(JSON.stringify(step), weights)
  state = await engine.state(program)
})

test("calls are recorded in order", async () => {
  await engine.write(state, "tokens", new Uint8Array(8))
  await engine.run(program, state, { steps: 8 })
  await engine.copyState(state, await engine.state(program))
  engine.release(state)
  expect(engine.calls).toEqual([
    "weights 0",
    "load mamba/step b2",
    "state mamba/step b2",
    "write tokens 8",
    "run mamba/step b2 8",
    "state mamba/step b2",
    "copyState",
    "release",
  ])
})

test("sizes are known without a device", () => {
  const { temp, state, io } = step.spaces
  expect(engine.info()).toMatchObject({ isa: "none", bytes: { temp, state, io } })
  expect(nullBackend().info()).toMatchObject({ name: "null", opset: step.opset })
})

describe("refused", () => {
  const cases: [string, () => unknown, RegExp][] = [
    ["reading", () => engine.read(program, "token"), /no token to read on the null backend/],
    ["a released program", () => engine.run(99 as ProgramHandle, state), /no program 99/],
    ["a state that is a program", () => engine.run(program, program as number as StateHandle), /no state/],
    ["no state for a program that has one", () => engine.run(program, null), /another layout/],
    ["a state of another batch", async () => engine.run(await load("sample"), state), /another layout/],
    ["a copy between layouts", async () => engine.copyState(state, await engine.state(await load("sample"))), /different layouts/],
    ["a name that is not there", () => engine.write(state, "token", new Uint8Array(1)), /no token to write/],
    ["an output as an input", () => engine.write(program, "token", new Uint8Array(1)), /no token to write/],
    ["too many bytes", () => engine.write(state, "lens", new Uint8Array(9)), /9 bytes do not fit lens, which has 8/],
    ["a program without its weights", () => engine.load(JSON.stringify(step), null), /lacks its weights/],
    ["a second release", async () => [engine.release(state), engine.release(state)], /no handle/],
    ["a tensor of a file that was not given", () => engine.weights({ files: [], tensors: [tensor] }), /Tensor w is in file 0/],
    ["weights that are gone", () => engine.firstNonFinite(7 as WeightsHandle), /no weights 7/],
  ]
  const tensor = { name: "w", file: 0, offset: 0, bytes: 4, dtype: "f32" as const, shape: [1] }
  const load = (kind: string): Promise<ProgramHandle> => engine.load(JSON.stringify(planOf("tiny", specs[kind] as never)), weights)
  test.each(cases)("%s", async (_what, body, message) => {
    const error: Error = await (async () => body())().then(
      () => new Error("nothing was refused"),
      (reason: Error) => reason,
    )
    expect(error.message).toMatch(message)
    expect(error).toBeInstanceOf(DeviceError)
  })

  test("text that is no plan for this table", async () => {
    for (const [text, code] of [
      ["{", "malformed"],
      [JSON.stringify({ ...step, format: 2 }), "format"],
      [JSON.stringify({ ...step, opset: "0" }), "opset"],
    ] as const) {
      expect(nullBackend().check(text)).toMatchObject([{ code }])
      await expect(engine.load(text, weights)).rejects.toThrow(PlanError)
    }
    expect(nullBackend().check(JSON.stringify(step))).toEqual([])
  })

  test("everything after dispose, and a run whose signal is aborted", async () => {
    await expect(engine.run(program, state, { signal: AbortSignal.abort(new RangeError("enough")) })).rejects.toThrow(RangeError)
    await engine.dispose()
    await expect(engine.run(program, state)).rejects.toThrow(DisposedError)
    await expect(engine.state(program)).rejects.toThrow(DisposedError)
  })
})

describe("forecasts", () => {
  test("a node's bytes and flops are those of the table", () => {
    const { nodes, total } = engine.forecast(program)
    // in_proj: x f32[2, 1, 8], weight bf16[32, 8], y f32[2, 1, 32]
    const inProj = step.nodes.findIndex(({ at }) => at === "mamba.ts layer 0 in_proj")
    expect(nodes[inProj]).toEqual({ bytes: 32 * 8 * 2 + 4 * 2 * (8 + 32), flops: 2 * 2 * 8 * 32 })
    expect(total.flops).toBe(nodes.reduce((sum, { flops }) => sum + flops, 0))
  })

  test("memory and time", () => {
    const forecast = engine.forecast(program, { gigabytesPerSecond: 1, gigaflopsPerSecond: 1e9 })
    expect(forecast).toMatchObject({ peak: step.spaces.temp })
    expect(forecast.peak).toBeGreaterThanOrEqual(forecast.bound)
    expect(forecast.memory).toBeGreaterThan(step.spaces.temp + step.spaces.state + step.spaces.io)
    expect(forecast.seconds).toBeCloseTo(forecast.total.bytes / 1e9, 15)
    const slow = engine.forecast(program, { gigabytesPerSecond: 1e9, gigaflopsPerSecond: 1 })
    expect(slow.seconds).toBeCloseTo(forecast.total.flops / 1e9, 15)
    expect(engine.forecast(program)).not.toHaveProperty("seconds")
  })

  test("a step of the 130M model reads its 129 million parameters once, in bf16", async () => {
    expect(configs["130m"]).toBeDefined()
    const plan = planOf("130m", { kind: "step", b: 1 })
    const { total } = engine.forecast(await engine.load(JSON.stringify(plan), weights))
    expect(total.bytes / 2 / 129_135_360).toBeGreaterThan(1)
    expect(total.bytes / 2 / 129_135_360).toBeLessThan(1.1)
    expect(total.flops / 2 / 129_135_360).toBeGreaterThan(1)
    expect(total.flops / 2 / 129_135_360).toBeLessThan(1.1)
  })
})
