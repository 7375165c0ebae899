/** Aborting runs and disposing engines. */
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { Engine, ProgramHandle, StateHandle } from "../../ts/backend/interface.ts"
import { DisposedError } from "../../ts/errors.ts"
import { accumulate, backend, bytes, endless, floats, needsBackend } from "./seam-kit.ts"

needsBackend()

let engine: Engine
let program: ProgramHandle
let state: StateHandle
beforeEach(async () => {
  engine = await backend.open({ threads: 2 })
  program = await engine.load(accumulate(1), null)
  state = await engine.state(program)
  await engine.write(program, "x", bytes(1))
})
afterEach(() => engine?.dispose())

const settled = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error) => error)
const later = (action: () => void): unknown => setTimeout(action, 20)

/** A controller whose signal tells how many listen to it. */
function counted(): { controller: AbortController; listeners: () => number } {
  const controller = new AbortController()
  const heard = new Set<unknown>()
  const { signal } = controller
  const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)] as [
    typeof signal.addEventListener,
    typeof signal.removeEventListener,
  ]
  signal.addEventListener = ((type: "abort", listener: () => void, options?: object) => {
    heard.add(listener)
    add(type, listener, options)
  }) as typeof signal.addEventListener
  signal.removeEventListener = ((type: "abort", listener: () => void) => {
    heard.delete(listener)
    remove(type, listener)
  }) as typeof signal.removeEventListener
  return { controller, listeners: () => heard.size }
}

describe("abort", () => {
  test("before the call: nothing runs, and the reason is the signal's own", async () => {
    const reason = { any: "value" }
    expect(await settled(engine.run(program, state, { signal: AbortSignal.abort(reason) }))).toBe(reason)
    expect(floats(await engine.read(state, "acc"))).toEqual([0])
  })

  test("during a run: rejects with the reason, and the engine goes on", async () => {
    const controller = new AbortController()
    const reason = new Error("enough")
    later(() => controller.abort(reason))
    expect(await settled(engine.run(program, state, { steps: endless, signal: controller.signal }))).toBe(reason)
    await engine.write(state, "acc", bytes(5))
    await engine.run(program, state)
    expect(floats(await engine.read(state, "acc"))).toEqual([6])
  })

  test("a timeout's reason is a TimeoutError", async () => {
    const signal = AbortSignal.timeout(20)
    await expect(engine.run(program, state, { steps: endless, signal })).rejects.toMatchObject({ name: "TimeoutError" })
  })

  test("of a run that waits its turn, and of several by one signal", async () => {
    const [first, second] = [new AbortController(), new AbortController()]
    const running = settled(engine.run(program, state, { steps: endless, signal: first.signal }))
    const waiting = [1, 2].map(() => settled(engine.run(program, state, { steps: endless, signal: second.signal })))
    const unconcerned = engine.read(state, "acc")
    second.abort("second")
    later(() => first.abort("first"))
    expect(await Promise.all([running, ...waiting])).toEqual(["first", "second", "second"])
    expect(await unconcerned).toHaveLength(4)
  })

  test("after the run changes nothing, and no listener stays", async () => {
    const { controller, listeners } = counted()
    await engine.run(program, state, { signal: controller.signal })
    expect(listeners()).toBe(0)
    await settled(engine.run(program, state, { steps: 2, signal: controller.signal }))
    controller.abort()
    await engine.run(program, state)
    expect(floats(await engine.read(state, "acc"))).toEqual([4])
  })

  test("a refusal of an aborted run is the refusal, unless the abort came first", async () => {
    const { controller, listeners } = counted()
    const run = engine.run(program, null, { signal: controller.signal })
    await expect(run).rejects.toMatchObject({ code: "STATE_LAYOUT" })
    expect(listeners()).toBe(0)
  })
})

describe("dispose", () => {
  const calls: [string, () => unknown][] = [
    ["weights", () => engine.weights({ files: [], tensors: [] })],
    ["firstNonFinite", () => engine.firstNonFinite(1 as never)],
    ["load", () => engine.load(accumulate(1), null)],
    ["state", () => engine.state(program)],
    ["run", () => engine.run(program, state)],
    ["run with a signal", () => engine.run(program, state, { signal: new AbortController().signal })],
    ["copyState", () => engine.copyState(state, state)],
    ["read", () => engine.read(state, "acc")],
    ["write", () => engine.write(program, "x", bytes(1))],
  ]
  for (const [name, make] of calls) {
    test(`${name} after it is refused`, async () => {
      await engine.dispose()
      const error = await settled(make() as Promise<unknown>)
      expect(error).toBeInstanceOf(DisposedError)
      expect(error).toMatchObject({ code: "DISPOSED" })
    })
  }

  test("waits for what was asked before it, refuses what is asked after", async () => {
    const run = engine.run(program, state, { steps: 1000 })
    const read = engine.read(state, "acc")
    const disposed = engine.dispose()
    const late = settled(engine.read(state, "acc"))
    expect(floats(await read)).toEqual([1000])
    await Promise.all([run, disposed])
    expect(await late).toBeInstanceOf(DisposedError)
  })

  test("during a run that is then aborted", async () => {
    const controller = new AbortController()
    const run = settled(engine.run(program, state, { steps: endless, signal: controller.signal }))
    const disposed = engine.dispose()
    later(() => controller.abort("over"))
    expect(await run).toBe("over")
    await disposed
  })

  test("twice, and release after it, do nothing more; nothing is held", async () => {
    await Promise.all([engine.dispose(), engine.dispose()])
    await engine.dispose()
    engine.release(program)
    expect(engine.info().bytes).toEqual({ weights: 0, temp: 0, state: 0, io: 0, scratch: 0 })
  })
})
