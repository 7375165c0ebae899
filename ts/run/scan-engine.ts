/** The scan itself, on typed arrays: what both `ops` entries hand on. */
import type { Engine, ProgramHandle } from "../backend/interface.ts"
import type { WasmOptions } from "../backend/wasm/index.ts"
import { checkOptions } from "../options.ts"
import type { Plan } from "../plan/types.ts"
import type { BackendName, Platform } from "../platform/types.ts"
import { chooseBackend } from "./backends.ts"
import { asBytes, asFloats } from "./numbers.ts"
import { readScan, type ScanSizes, type ScanTensors, type SelectiveScanInput, type SelectiveScanResult } from "./scan.ts"
import { buildScanPlans, type ScanSpec } from "./scan-programs.ts"

export interface SelectiveScanOptions {
  /** Default "auto". */
  backend?: BackendName
  /** Default: physical cores. Results do not depend on it. */
  threads?: number
  /** As in `load()`: where the WebAssembly module and its Worker lie, when they are not found by themselves. */
  wasm?: WasmOptions["wasm"]
  worker?: WasmOptions["worker"]
  /** No warning when "auto" has to take a slower backend. */
  quiet?: boolean
  signal?: AbortSignal
}

/** Programs that are kept: each holds the memory of its inputs and outputs. */
const keptPrograms = 8

interface Programs {
  scan: ProgramHandle
  enter: ProgramHandle | undefined
  leave: ProgramHandle
}
interface Kept {
  loaded: Promise<Programs>
  /** Calls that use it now. */
  users: number
}
interface Shared {
  engine: Promise<Engine>
  programs: Map<string, Kept>
}

/** What makes an engine another one. */
type Choice = readonly [BackendName, number | undefined, WasmOptions["wasm"], WasmOptions["worker"]]

/** Engines of this process; an idle one keeps no process alive. */
const engines: { choice: Choice; shared: Shared }[] = []

function sharedEngine(platform: Platform, options: SelectiveScanOptions): Shared {
  const { backend = "auto", threads, wasm, worker, quiet } = options
  const choice: Choice = [backend, threads, wasm, worker]
  const known = engines.find((entry) => entry.choice.every((part, i) => part === choice[i]))
  if (known !== undefined) return known.shared
  const opened = chooseBackend(platform, backend, { threads, wasm, worker, quiet }).then((chosen) => chosen.open({ threads }))
  const entry = { choice, shared: { engine: opened, programs: new Map<string, Kept>() } }
  engines.push(entry)
  opened.catch(() => engines.splice(engines.indexOf(entry), 1))
  return entry.shared
}

async function loadPrograms(engine: Engine, spec: ScanSpec): Promise<Programs> {
  const { scan, enter, leave } = buildScanPlans(spec)
  const load = (plan: Plan): Promise<ProgramHandle> => engine.load(JSON.stringify(plan), null)
  const handles = await Promise.all([load(scan), load(leave), ...(enter ? [load(enter)] : [])])
  return { scan: handles[0], leave: handles[1], enter: handles[2] }
}

/** Runs `body` with the programs of these sizes; those used longest ago make room. */
async function withPrograms<T>(shared: Shared, spec: ScanSpec, body: (engine: Engine, programs: Programs) => Promise<T>): Promise<T> {
  const { programs } = shared
  const engine = await shared.engine
  const key = JSON.stringify(spec)
  const kept = programs.get(key) ?? { loaded: loadPrograms(engine, spec), users: 0 }
  programs.delete(key)
  programs.set(key, kept)
  kept.users++
  try {
    return await body(engine, await kept.loaded)
  } catch (error) {
    // What did not load is tried anew; a run that was aborted leaves programs as good as before.
    await kept.loaded.catch(() => programs.delete(key))
    throw error
  } finally {
    kept.users--
    for (const [other, { loaded, users }] of programs) {
      if (programs.size <= keptPrograms) break
      if (users > 0) continue
      programs.delete(other)
      const { scan, enter, leave } = await loaded
      for (const handle of [scan, enter, leave]) if (handle !== undefined) engine.release(handle)
    }
  }
}

/** `selectiveScan` of the public entries, each of which knows its platform. */
export async function scanOn(
  platform: Platform,
  input: SelectiveScanInput,
  options: SelectiveScanOptions = {},
): Promise<SelectiveScanResult> {
  checkOptions("selectiveScan", input, {
    ...{
      layout: { type: "any" },
      u: { type: "any" },
      shape: { type: "array" },
      delta: { type: "any" },
      A: { type: "any" },
      B: { type: "any" },
      C: { type: "any" },
    },
    ...{
      D: { type: "any" },
      z: { type: "any" },
      deltaBias: { type: "any" },
      deltaSoftplus: { type: "boolean" },
      initialState: { type: "any" },
    },
  })
  checkOptions("selectiveScan", options, {
    backend: { type: "string", values: ["auto", "native", "wasm", "cuda"] },
    threads: { type: "number", integer: true, min: 1, max: 1024 },
    wasm: { type: "any" },
    worker: { type: "any" },
    quiet: { type: "boolean" },
    signal: { type: "signal" },
  })
  const { sizes, tensors } = readScan(input)
  options.signal?.throwIfAborted()
  const { batch, length, channels, state, batched } = sizes
  const stateShape = batched ? [batch, channels, state] : [channels, state]
  const steps = input.layout === "bld" ? [length, channels] : [channels, length]
  const outShape = batched ? [batch, ...steps] : steps
  const { out, lastState } = await runScan(platform, input, sizes, tensors, options)
  return { out: { data: out, shape: outShape }, lastState: { data: lastState, shape: stateShape } }
}

async function runScan(
  platform: Platform,
  input: SelectiveScanInput,
  sizes: ScanSizes,
  tensors: ScanTensors,
  options: SelectiveScanOptions,
): Promise<Record<"out" | "lastState", Float32Array>> {
  const { batch, length, channels, state, groups } = sizes
  const given = Object.entries(tensors)
  const spec: ScanSpec = {
    ...{ b: batch, l: length, e: channels, n: state, groups, softplus: input.deltaSoftplus === true, layout: input.layout },
    dtypes: Object.fromEntries(given.map(([name, data]) => [name, data instanceof Float32Array ? "f32" : "bf16"])),
  }
  return withPrograms(sharedEngine(platform, options), spec, async (engine, { scan, enter, leave }) => {
    const memory = await engine.state(scan)
    // Each list is queued without a pause: another call with the same sizes uses the same inputs.
    const queue = async (calls: Promise<unknown>[], ...reads: Promise<Uint8Array>[]): Promise<Uint8Array[]> => {
      await Promise.all([...calls, ...reads])
      return Promise.all(reads)
    }
    try {
      if (enter !== undefined && tensors.initialState !== undefined) {
        const calls = [engine.write(enter, "initialState", asBytes(tensors.initialState)), engine.run(enter, memory)]
        const [start] = (await queue(calls, engine.read(enter, "start"))) as [Uint8Array]
        await engine.write(memory, "h", start)
      }
      const calls: Promise<unknown>[] = given
        .filter(([name]) => name !== "initialState")
        .map(([name, data]) => engine.write(scan, name, asBytes(data)))
      calls.push(engine.run(scan, memory, { signal: options.signal }), engine.run(leave, memory))
      const [y, h] = (await queue(calls, engine.read(scan, "y"), engine.read(leave, "lastState"))) as [Uint8Array, Uint8Array]
      return { out: asFloats(y), lastState: asFloats(h) }
    } finally {
      engine.release(memory)
    }
  })
}
