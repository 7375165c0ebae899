/** Every code of the engine, as callers get to see it. */
import { afterEach, beforeEach, expect, test } from "vitest"
import type { Engine, EngineOptions, TensorSource } from "../../ts/backend/interface.ts"
import { refusalOf, translate } from "../../ts/backend/refusals.ts"
import * as errors from "../../ts/errors.ts"
import { isNative } from "../support/backend.ts"
import { accumulate, backend, bytes, ints, lookUp, needsBackend, softplusTwice } from "./seam-kit.ts"

needsBackend()

let engine: Engine
beforeEach(async () => {
  engine = await backend.open()
})
afterEach(() => engine?.dispose())

const table: TensorSource = { name: "table", file: 0, offset: 0, bytes: 24, dtype: "f32", shape: [2, 3] }
const open = (files: Uint8Array[], tensor: Partial<TensorSource> = {}): ReturnType<Engine["weights"]> =>
  engine.weights({ files, tensors: [{ ...table, ...tensor }] })
const six = bytes(1, 2, 3, 4, 5, 6)

interface Refusal {
  type: new (...args: never[]) => errors.StatespaceError
  code: string
  says: RegExp
}
async function refused(call: Promise<unknown>, { type, code, says }: Refusal): Promise<errors.StatespaceError> {
  const error = (await call.then(
    () => expect.unreachable("nothing was refused"),
    (error) => error,
  )) as errors.StatespaceError
  expect(error).toBeInstanceOf(type)
  expect(error.code).toBe(code)
  expect(error.message).toMatch(says)
  expect(error.message).toMatch(/^[^a-z].*\.$/s)
  expect(error.fix).toMatch(/\.$/)
  return error
}
const { CheckpointError, DeviceError, OptionError, PlanError, StateError } = errors

test("plans", async () => {
  const broken = softplusTwice(3).replace('"out":[1]', '"out":[0]')
  const error = await refused(engine.load(broken, null), { type: PlanError, code: "PLAN_INVALID", says: /The plan is not valid: / })
  expect((error as errors.PlanError).issues).toEqual(backend.check(broken))
  const foreign = softplusTwice(3).replace(/"opset":"[0-9a-f]+"/, '"opset":"0123456789abcdef"')
  await refused(engine.load(foreign, null), { type: PlanError, code: "PLAN_OPSET", says: /0123456789abcdef/ })
})

test("checkpoints", async () => {
  const tensor = { type: CheckpointError, code: "CHECKPOINT_TENSOR" }
  await refused(open([six], { offset: 1 }), { ...tensor, says: /Tensor table ends beyond its file of 24 bytes/ })
  await refused(open([six], { offset: 2 ** 52 }), { ...tensor, says: /table ends beyond/ })
  await refused(open([six], { file: 1 }), { ...tensor, says: /table is in file 1 of 1/ })
  await refused(open([six], { bytes: 20 }), { ...tensor, says: /table has 20 bytes/ })
  await refused(engine.load(lookUp(2, 3), null), { ...tensor, says: /table is wanted/ })
  const other = open([six], { name: "other" })
  await refused(engine.load(lookUp(2, 3), await other), { ...tensor, says: /table is not in the checkpoint/ })
  await refused(engine.load(lookUp(3, 2), await open([six])), {
    ...tensor,
    says: /table is f32 \[2, 3\]; the plan wants it as f32 \[3, 2\]/,
  })
})

test("ids out of range", async () => {
  const program = await engine.load(lookUp(2, 3), await open([six]))
  for (const id of [2, -1]) {
    await engine.write(program, "tokens", ints(id))
    const says = new RegExp(`Node 0 \\(test look up\\) was given id ${id}; ids are 0 to 1`)
    await refused(engine.run(program, null), { type: OptionError, code: "TOKEN_ID_INVALID", says })
  }
  await engine.write(program, "tokens", ints(1))
  await engine.run(program, null)
})

test("states of another layout", async () => {
  const program = await engine.load(accumulate(2), null)
  const layout = { type: StateError, code: "STATE_LAYOUT" }
  const other = await engine.state(await engine.load(accumulate(2, "sum"), null))
  await refused(engine.run(program, other), { ...layout, says: /sum.*acc/ })
  await refused(engine.copyState(await engine.state(program), other), { ...layout, says: /sum/ })
  await refused(engine.run(program, null), { ...layout, says: /needs a state/ })
})

test("handles", async () => {
  const handle = { type: DeviceError, code: "DEVICE_HANDLE" }
  const program = await engine.load(accumulate(2), null)
  const state = await engine.state(program)
  await refused(engine.run(state as never, null), { ...handle, says: /no program with handle 2/ })
  await refused(engine.run(program, program as never), { ...handle, says: /no state with handle 1/ })
  await refused(engine.read(99 as never, "x"), { ...handle, says: /no program or state with handle 99/ })
  engine.release(state)
  await refused(engine.read(state, "acc"), { ...handle, says: /handle 2/ })
})

test("names, lengths and options", async () => {
  const option = { type: OptionError, code: "OPTION_RANGE" }
  const program = await engine.load(accumulate(2), null)
  await refused(engine.read(program, "y"), { ...option, says: /no input or output y/ })
  await refused(engine.write(program, "x", new Uint8Array(12)), { ...option, says: /12 bytes were given for x, which has 8/ })
  await refused(engine.write(program, "x", new Uint8Array(3)), { ...option, says: /3 bytes/ })
  const opened = (options: object): Promise<Engine> => backend.open(options as EngineOptions)
  await refused(opened({ isa: "mmx" }), { ...option, says: /Isa is mmx; this machine has .*(scalar|simd128|relaxed-simd)/ })
  await refused(opened({ threads: 0 }), { ...option, says: /Threads is 0/ })
  await refused(opened({ thread: 1 }), { ...option, says: /unknown field `thread`/ })
})

test("memory that is not there", async () => {
  const n = 2 ** 46
  const plan = softplusTwice(n)
  await refused(engine.load(plan, null), { type: DeviceError, code: "DEVICE_MEMORY", says: /bytes of memory could not be had/ })
  await engine.load(softplusTwice(3), null)
})

test("what is not of the declared type", async (context) => {
  if (!isNative) context.skip("wasm-bindgen converts instead of refusing")
  const program = await engine.load(accumulate(2), null)
  await refused(engine.write(program, "x", "text" as never), { type: DeviceError, code: "DEVICE_FAILED", says: /native module failed/ })
  await refused(engine.run("x" as never, null), { type: DeviceError, code: "DEVICE_FAILED", says: /native module failed/ })
})

test("codes that no call provokes", () => {
  const from = (refusal: object): errors.StatespaceError => translate(new Error(JSON.stringify(refusal)))
  expect(from({ code: "crashed", message: "the engine has crashed: at 1" })).toBeInstanceOf(errors.EngineCrashedError)
  expect(from({ code: "crashed", message: "the engine has crashed: at 1" })).toMatchObject({ code: "ENGINE_CRASHED" })
  expect(from({ code: "guard", message: "node 3 (x) wrote past buffer y" })).toMatchObject({ code: "DEVICE_GUARD" })
  expect(from({ code: "aborted", message: "the run was aborted" })).toMatchObject({ code: "DISPOSED" })
  expect(from({ code: "new", message: "something" })).toMatchObject({ code: "DEVICE_FAILED" })
  expect([refusalOf(new Error("{")), refusalOf(new Error("{}")), refusalOf(7)]).toEqual([null, null, null])
})
