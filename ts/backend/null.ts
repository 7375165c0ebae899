/**
 * A backend without a device: it takes every call, checks that handles and names are what the seam says, keeps a record, and knows from the plan
 * what a run would cost. There is no arithmetic, so there is nothing to read.
 */
import { DeviceError, DisposedError, PlanError, type PlanIssue } from "../errors.ts"
import { type Forecast, forecast, type Machine } from "../plan/cost.ts"
import { bytesOf } from "../plan/lives.ts"
import { opset } from "../plan/lower.ts"
import type { Plan, PlanBuffer } from "../plan/types.ts"
import type { Backend, Engine, ProgramHandle, StateHandle, WeightsHandle, WeightsSource } from "./interface.ts"

export interface NullEngine extends Engine {
  /** Every call in order: the verb, then what it was called with. */
  readonly calls: readonly string[]
  /** What one run of the program costs, and on a machine with known limits how long it takes at least. */
  forecast(program: ProgramHandle, machine?: Machine): Forecast
}
export interface NullBackend extends Backend {
  open(): Promise<NullEngine>
}

function refusal(message: string): DeviceError {
  return new DeviceError("DEVICE_NULL", `${message} on the null backend.`, { fix: "Use a backend that computes." })
}

/** What can be seen without the validator: that the text is a plan for this op table. */
function check(text: string): PlanIssue[] {
  try {
    const plan = JSON.parse(text) as Partial<Plan>
    if (plan.format !== 1) return [{ code: "format", path: "format", message: `the plan has format ${plan.format}; this is format 1` }]
    if (plan.opset === opset) return []
    return [{ code: "opset", path: "opset", message: `the plan was made with the op table ${plan.opset}; this engine has ${opset}` }]
  } catch (error) {
    return [{ code: "malformed", path: "", message: (error as Error).message }]
  }
}

/** Two states fit one program when their buffers are the same. */
const layoutOf = ({ buffers, state }: Plan): string =>
  JSON.stringify(Object.entries(state).map(([name, id]) => [name, { ...buffers[id], id: 0 }]))

class Null implements NullEngine {
  readonly calls: string[] = []
  readonly #weights = new Set<number>()
  readonly #programs = new Map<number, Plan>()
  /** The program that each state was made for. */
  readonly #states = new Map<number, Plan>()
  #handles = 0
  #disposed = false

  #record(call: string): void {
    if (this.#disposed) throw new DisposedError("DISPOSED", "The engine was disposed.", { fix: "Open another." })
    this.calls.push(call)
  }

  #plan(plans: ReadonlyMap<number, Plan>, handle: number): Plan {
    const plan = plans.get(handle)
    if (plan === undefined) throw refusal(`There is no ${plans === this.#states ? "state" : "program"} ${handle}`)
    return plan
  }

  info(): ReturnType<Engine["info"]> {
    const spaces = [...this.#programs.values()].map((plan) => plan.spaces)
    const temp = Math.max(0, ...spaces.map((space) => space.temp))
    const io = spaces.reduce((sum, space) => sum + space.io, 0)
    const state = [...this.#states.values()].reduce((sum, plan) => sum + plan.spaces.state, 0)
    return { isa: "none", threads: 0, bytes: { weights: 0, temp, state, io, scratch: 0 } }
  }

  async weights(source: WeightsSource): Promise<WeightsHandle> {
    this.#record(`weights ${source.tensors.length}`)
    const stray = source.tensors.find(({ file }) => source.files[file] === undefined)
    if (stray !== undefined) throw refusal(`Tensor ${stray.name} is in file ${stray.file}, which was not given,`)
    this.#weights.add(++this.#handles)
    return this.#handles as WeightsHandle
  }

  async firstNonFinite(weights: WeightsHandle): Promise<string | null> {
    this.#record("firstNonFinite")
    if (!this.#weights.has(weights)) throw refusal(`There are no weights ${weights}`)
    return null
  }

  async load(text: string, weights: WeightsHandle | null): Promise<ProgramHandle> {
    const issues = check(text)
    if (issues.length > 0) {
      const message = `The plan is not valid: ${issues[0]?.message}.`
      throw new PlanError("PLAN_INVALID", message, { fix: "Use one version of the package throughout.", issues })
    }
    const plan = JSON.parse(text) as Plan
    this.#record(`load ${plan.name}`)
    if (plan.weights.length > 0 && (weights === null || !this.#weights.has(weights)))
      throw refusal(`Program ${plan.name} lacks its weights`)
    this.#programs.set(++this.#handles, plan)
    return this.#handles as ProgramHandle
  }

  async state(program: ProgramHandle): Promise<StateHandle> {
    const plan = this.#plan(this.#programs, program)
    this.#record(`state ${plan.name}`)
    this.#states.set(++this.#handles, plan)
    return this.#handles as StateHandle
  }

  async run(program: ProgramHandle, state: StateHandle | null, options: Parameters<Engine["run"]>[2] = {}): Promise<void> {
    const plan = this.#plan(this.#programs, program)
    this.#record(`run ${plan.name} ${options.steps ?? 1}`)
    options.signal?.throwIfAborted()
    const layout = state === null ? "[]" : layoutOf(this.#plan(this.#states, state))
    if (layout !== layoutOf(plan)) throw refusal(`Program ${plan.name} ran with a state of another layout`)
  }

  async copyState(to: StateHandle, from: StateHandle): Promise<void> {
    this.#record("copyState")
    if (layoutOf(this.#plan(this.#states, to)) !== layoutOf(this.#plan(this.#states, from)))
      throw refusal("Two states have different layouts")
  }

  async read(_target: ProgramHandle | StateHandle, name: string): Promise<Uint8Array> {
    this.#record(`read ${name}`)
    throw refusal(`There is no ${name} to read`)
  }

  async write(target: ProgramHandle | StateHandle, name: string, bytes: Uint8Array): Promise<void> {
    this.#record(`write ${name} ${bytes.length}`)
    const state = this.#states.get(target)
    const { buffers, inputs } = state ?? this.#plan(this.#programs, target)
    const id = (state?.state ?? inputs)[name]
    if (id === undefined) throw refusal(`There is no ${name} to write`)
    const room = bytesOf(buffers[id] as PlanBuffer)
    if (bytes.length > room) throw refusal(`${bytes.length} bytes do not fit ${name}, which has ${room},`)
  }

  release(handle: WeightsHandle | ProgramHandle | StateHandle): void {
    this.#record("release")
    const known = this.#weights.delete(handle) || this.#programs.delete(handle) || this.#states.delete(handle)
    if (!known) throw refusal(`There is no handle ${handle} to release`)
  }

  forecast(program: ProgramHandle, machine?: Machine): Forecast {
    return forecast(this.#plan(this.#programs, program), machine)
  }

  async dispose(): Promise<void> {
    this.#disposed = true
  }
}

export function nullBackend(): NullBackend {
  return {
    name: "null",
    info: () => ({ name: "null", version: "", opset, isas: [], cores: 0 }),
    check,
    open: async () => new Null(),
  }
}
