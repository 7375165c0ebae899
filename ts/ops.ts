/// <reference lib="esnext.disposable" preserve="true" />
/** The scan itself, on typed arrays. */
import type { Engine, ProgramHandle } from "./backend/interface.ts"
import { checkOptions } from "./options.ts"
import type { Plan } from "./plan/types.ts"
import { type BackendName, chooseBackend } from "./run/backends.ts"
import { asBytes, asFloats } from "./run/numbers.ts"
import { readScan, type ScanSizes, type ScanTensors, type SelectiveScanInput, type SelectiveScanResult } from "./run/scan.ts"
import { buildScanPlans, type ScanSpec } from "./run/scan-programs.ts"

export type { ScanArray, ScanData, SelectiveScanInput, SelectiveScanResult } from "./run/scan.ts"
export type { NumericArray } from "./run/types.ts"

export interface SelectiveScanOptions {
  /** Default "auto". */
  backend?: BackendName
  /** Default: physical cores. Results do not depend on it. */
  threads?: number
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

/** Engines of this process by backend and threads; an idle one keeps no process alive. */
const engines = new Map<string, Shared>()

function sharedEngine(backend: BackendName | undefined, threads: number | undefined): Shared {
  const key = `${backend ?? "auto"} ${threads ?? ""}`
  let shared = engines.get(key)
  if (shared === undefined) {
    shared = { engine: chooseBackend(backend).open({ threads }), programs: new Map() }
    engines.set(key, shared)
    shared.engine.catch(() => engines.delete(key))
  }
  return shared
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

/**
 * The selective scan (arXiv 2312.00752, algorithm 2): with s = delta + deltaBias and Δ = softplus(s) or s,
 *
 *     h[n] ← exp(Δ · A[n]) · h[n] + Δ · B[n] · u        out = (Σₙ C[n] · h[n] + D · u) · silu(z)
 *
 * for every channel and step, in f32. Channels are split into `groups` equal blocks that share B and C; their number follows from the size
 * of B. Arrays are f32, or bf16 as `Uint16Array`; a length of 0 gives an empty `out` and the initial state.
 *
 * @throws OptionError for arrays that do not fit together, BackendUnavailableError; the signal's reason when aborted
 */
export async function selectiveScan(input: SelectiveScanInput, options: SelectiveScanOptions = {}): Promise<SelectiveScanResult> {
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
    signal: { type: "signal" },
  })
  const { sizes, tensors } = readScan(input)
  options.signal?.throwIfAborted()
  const { batch, length, channels, state, batched } = sizes
  const stateShape = batched ? [batch, channels, state] : [channels, state]
  const steps = input.layout === "bld" ? [length, channels] : [channels, length]
  const outShape = batched ? [batch, ...steps] : steps
  const { out, lastState } = await runScan(input, sizes, tensors, options)
  return { out: { data: out, shape: outShape }, lastState: { data: lastState, shape: stateShape } }
}

async function runScan(
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
  return withPrograms(sharedEngine(options.backend, options.threads), spec, async (engine, { scan, enter, leave }) => {
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
