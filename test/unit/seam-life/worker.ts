/** What the worker threads of `scripts.ts` do, by the name in `workerData`. */
import { parentPort, workerData } from "node:worker_threads"
import { floats } from "../seam-kit.ts"
import { setUp } from "./setup.ts"

const { engine, program, state, forever } = await setUp()

const scripts: Record<string, () => Promise<void>> = {
  async sum() {
    await engine.run(program, state, { steps: 1000 })
    parentPort?.postMessage(floats(await engine.read(state, "acc")))
    await engine.dispose()
  },
  async forever() {
    forever()
    for (let i = 0; i < 10; i++) engine.read(state, "acc")
    parentPort?.postMessage("under way")
  },
  async flood() {
    for (let i = 0; i < 2000; i++) {
      engine.run(program, state)
      engine.read(state, "acc")
    }
    parentPort?.postMessage("under way")
  },
  async forget() {
    await engine.run(program, state)
    parentPort?.postMessage("ran")
  },
}

await scripts[workerData.name]?.()
