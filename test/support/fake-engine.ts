/**
 * An engine whose "model" is a hash of state and token: every program of a language model with its exact semantics, and no arithmetic. For
 * tests of what drives an engine.
 */
import type { Backend, Engine, EngineOptions, ProgramHandle, StateHandle, WeightsHandle } from "../../ts/backend/interface.ts"
import { DisposedError } from "../../ts/errors.ts"
import { dtypeSize, type Plan } from "../../ts/plan/types.ts"
import type { Model } from "../../ts/run/model.ts"
import { letters, openFamily } from "./models.ts"

type Store = Map<string, Uint8Array>
interface Program {
  plan: Plan
  io: Store
}

const mix = (a: number, b: number): number => {
  let x = (Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) + Math.imul(b + 1, 0xc2b2ae35)) >>> 0
  x = Math.imul(x ^ (x >>> 15), 0x27d4eb2f) >>> 0
  return (x ^ (x >>> 13)) & 0xffffff
}
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export interface FakeOptions {
  /** Called when a run starts, with the number of runs so far. */
  onRun?: (count: number) => void
  /** So many tokens in one row give logits that are NaN. */
  nanAfter?: number
  /** What `firstNonFinite` answers. */
  damaged?: string | null
}

export interface FakeEngine extends Engine {
  /** Every call in order, as `verb name`. */
  readonly log: string[]
  readonly states: number
}

export function fakeBackend(options: FakeOptions = {}): Backend & { engine: FakeEngine | undefined } {
  const backend = {
    name: "fake",
    engine: undefined as FakeEngine | undefined,
    info: () => ({ name: "fake", version: "0", opset: "0", isas: ["none"], cores: 1 }),
    check: () => [],
    open: async (_engine?: EngineOptions) => {
      backend.engine = makeEngine(options)
      return backend.engine
    },
  }
  return backend
}

function makeEngine(options: FakeOptions): FakeEngine {
  const programs = new Map<number, Program>()
  const states = new Map<number, Store>()
  const log: string[] = []
  let handles = 0
  let runs = 0
  let disposed = false
  let queue: Promise<unknown> = Promise.resolve()
  const enqueue = <T>(label: string, body: () => T | Promise<T>): Promise<T> => {
    if (disposed) return Promise.reject(new DisposedError("DISPOSED", "The engine was disposed.", { fix: "Open another." }))
    const result = queue.then(() => {
      log.push(label)
      return body()
    })
    queue = result.catch(() => {})
    return result
  }
  const blank = (plan: Plan, names: Record<string, number>): Store =>
    new Map(
      Object.entries(names).map(([name, id]) => {
        const buffer = plan.buffers[id] as Plan["buffers"][number]
        return [name, new Uint8Array(buffer.shape.reduce((a, b) => a * b, 1) * dtypeSize[buffer.dtype])]
      }),
    )
  const storeOf = (handle: number): Store => {
    const store = states.get(handle) ?? programs.get(handle)?.io
    if (store === undefined) throw new Error(`handle ${handle} is gone`)
    return store
  }
  return {
    log,
    get states() {
      return states.size
    },
    info: () => ({ isa: "none", threads: 1, bytes: { weights: 0, temp: 0, state: 0, io: 0, scratch: 0 } }),
    weights: () => enqueue("weights", () => ++handles as WeightsHandle),
    firstNonFinite: () => enqueue("firstNonFinite", () => options.damaged ?? null),
    load: (text) =>
      enqueue("load", () => {
        const plan = JSON.parse(text) as Plan
        programs.set(++handles, { plan, io: blank(plan, { ...plan.inputs, ...plan.outputs }) })
        return handles as ProgramHandle
      }),
    state: (program) =>
      enqueue("state", () => {
        const { plan } = programs.get(program) as Program
        states.set(++handles, blank(plan, plan.state))
        return handles as StateHandle
      }),
    run: (program, state, { steps = 1, signal } = {}) => {
      const { plan } = programs.get(program) as Program
      return enqueue(`run ${plan.name} ${steps}`, async () => {
        options.onRun?.(++runs)
        const { io } = programs.get(program) as Program
        for (let step = 0; step < steps; step++) await runOnce(plan, io, states.get(state as number) as Store, step, options, signal)
      })
    },
    copyState: (to, from) =>
      enqueue("copyState", () => {
        for (const [name, bytes] of states.get(from) as Store) (states.get(to) as Store).set(name, bytes.slice())
      }),
    read: (target, name) => enqueue(`read ${name}`, () => (storeOf(target).get(name) as Uint8Array).slice()),
    write: (target, name, bytes) => {
      const copy = bytes.slice()
      return enqueue(`write ${name}`, () => {
        const buffer = storeOf(target).get(name)
        if (buffer === undefined || copy.length > buffer.length) throw new Error(`cannot write ${copy.length} bytes to ${name}`)
        buffer.set(copy)
      })
    },
    release: (handle) => {
      enqueue("release", () => states.delete(handle) || programs.delete(handle)).catch(() => {})
    },
    dispose: async () => {
      await enqueue("dispose", () => {})
      disposed = true
    },
  }
}

const ints = (bytes: Uint8Array): Int32Array => new Int32Array(bytes.buffer)
const floats = (bytes: Uint8Array): Float32Array => new Float32Array(bytes.buffer)

async function runOnce(plan: Plan, io: Store, state: Store, step: number, options: FakeOptions, signal?: AbortSignal): Promise<void> {
  const lens = ints(state.get("lens") as Uint8Array)
  const b = lens.length
  const hidden = floats(state.get("layers.0.ssm") as Uint8Array)
  const width = hidden.length / b
  const feed = (row: number, token: number): void => {
    hidden[row * width] = mix(hidden[row * width] as number, token)
    hidden[row * width + 1] = (hidden[row * width + 1] as number) + 1
  }
  const chunk = plan.inputs.tokens !== undefined
  if (chunk) {
    const tokens = ints(io.get("tokens") as Uint8Array)
    const l = tokens.length / b
    for (let t = 0; t < l; t++) {
      if (t % 64 === 0) {
        await tick()
        signal?.throwIfAborted()
      }
      for (let row = 0; row < b; row++) if (t < (lens[row] as number)) feed(row, tokens[row * l + t] as number)
    }
    return
  }
  await tick()
  signal?.throwIfAborted()
  const sampling = plan.outputs.token !== undefined
  const given = plan.inputs.logits === undefined ? undefined : floats(io.get("logits") as Uint8Array)
  const seen = state.get("seen") as Uint8Array
  const v = given?.length ?? (seen.length / b) * 8
  for (let row = 0; row < b; row++) {
    if ((lens[row] as number) === 0) {
      if (sampling) slot(io, b, row, step, -2, Number.NaN)
      continue
    }
    if (given === undefined) feed(row, ints(state.get("tokens") as Uint8Array)[row] as number)
    const [h, fed] = hidden.subarray(row * width) as unknown as [number, number]
    const limit = options.nanAfter ?? Number.POSITIVE_INFINITY
    const logits = given ?? Float32Array.from({ length: v }, (_, i) => (fed >= limit ? Number.NaN : mix(h, i) / 2 ** 21))
    if (sampling) draw(io, state, b, row, step, logits)
    else floats(io.get("logits") as Uint8Array).set(logits, row * v)
  }
}

function slot(io: Store, b: number, row: number, step: number, token: number, logprob: number): void {
  const tokens = ints(io.get("token") as Uint8Array)
  const slots = tokens.length / b
  tokens[row * slots + step] = token
  floats(io.get("logprob") as Uint8Array)[row * slots + step] = logprob
}

/** The `sample` op, with a hash in place of the inverse distribution. */
function draw(io: Store, state: Store, b: number, row: number, step: number, logits: Float32Array): void {
  const rng = new Uint32Array((state.get("rng") as Uint8Array).buffer, row * 16, 4)
  const sampler = floats(state.get("sampler") as Uint8Array).subarray(row * 8, row * 8 + 8)
  const seen = state.get("seen") as Uint8Array
  const bytes = seen.length / b
  const eos = ints(state.get("eos") as Uint8Array)
  if (!logits.every(Number.isFinite)) {
    slot(io, b, row, step, -1, Number.NaN)
    return
  }
  const counter = rng[2] as number
  const penalty = sampler[4] as number
  const scores = logits.map((logit, i) => {
    if (counter < (sampler[6] as number) && eos.includes(i)) return Number.NEGATIVE_INFINITY
    const marked = ((seen[row * bytes + (i >> 3)] as number) >> (i & 7)) & 1
    const shifted = sampler[5] ? logit + mix(mix(rng[0] as number, counter), i) / 2 ** 21 : logit
    return marked ? (shifted < 0 ? shifted * penalty : shifted / penalty) : shifted
  })
  const token = scores.indexOf(Math.max(...scores))
  ints(state.get("tokens") as Uint8Array)[row] = token
  seen[row * bytes + (token >> 3)] = (seen[row * bytes + (token >> 3)] as number) | (1 << (token & 7))
  rng[2] = counter + 1
  if (eos.includes(token)) ints(state.get("lens") as Uint8Array)[row] = 0
  const max = Math.max(...logits)
  slot(io, b, row, step, token, (logits[token] as number) - max - Math.log(logits.reduce((sum, x) => sum + Math.exp(x - max), 0)))
}

/** A small model on this engine, with a tokenizer of letters. */
export const open = async (options?: FakeOptions): Promise<Model> => openFamily("mamba", fakeBackend(options), { tokenizer: letters })
