/** An engine with a program of which a run never ends by itself. */
import { writeSync } from "node:fs"
import type { Engine, ProgramHandle, StateHandle } from "../../../ts/backend/interface.ts"
import { accumulate, backend, bytes, endless } from "../seam-kit.ts"

export interface Busy {
  engine: Engine
  program: ProgramHandle
  state: StateHandle
  /** Starts a run without an end. */
  forever(signal?: AbortSignal): Promise<void>
}

export async function setUp(): Promise<Busy> {
  const engine = await backend.open({ threads: 2 })
  const program = await engine.load(accumulate(1), null)
  const state = await engine.state(program)
  await engine.write(program, "x", bytes(1))
  return { engine, program, state, forever: (signal) => engine.run(program, state, { steps: endless, signal }) }
}

export const moment = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 30))

/** Written at once, so that it is there whatever happens next. */
export function say(text: string): void {
  writeSync(1, `${text}\n`)
}
