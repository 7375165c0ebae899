/// <reference lib="esnext.disposable" preserve="true" />
/** The scan itself, on typed arrays. */
import type { Engine, ProgramHandle } from "./backend/interface.ts"
import { checkOptions } from "./options.ts"
import { type BackendName, chooseBackend } from "./run/backends.ts"
import { asBytes, asFloats, swapped } from "./run/numbers.ts"
import { buildScanProgram, type ScanSpec } from "./run/programs.ts"
import { readScan, type ScanData, type ScanSizes, type ScanTensors, type SelectiveScanInput, type SelectiveScanResult } from "./run/scan.ts"

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

interface Kept {
  handle: Promise<ProgramHandle>
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

/** Runs `body` with the program of these sizes; the one used longest ago makes room. */
async function withProgram<T>(shared: Shared, spec: ScanSpec, body: (engine: Engine, program: ProgramHandle) => Promise<T>): Promise<T> {
  const { programs } = shared
  const engine = await shared.engine
  const key = JSON.stringify(spec)
  const kept = programs.get(key) ?? { handle: engine.load(JSON.stringify(buildScanProgram(spec)), null), users: 0 }
  programs.delete(key)
  programs.set(key, kept)
  kept.users++
  try {
    return await body(engine, await kept.handle)
  } catch (error) {
    programs.delete(key)
    throw error
  } finally {
    kept.users--
    for (const [other, { handle, users }] of programs) {
      if (programs.size <= keptPrograms) break
      if (users > 0) continue
      programs.delete(other)
      engine.release(await handle)
    }
  }
}

/** bf16 is the upper half of f32. */
function widened(data: ScanData): Float32Array {
  if (data instanceof Float32Array) return data
  return new Float32Array(Uint32Array.from(data, (bits) => bits << 16).buffer)
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
  if (length === 0) {
    const start = tensors.initialState === undefined ? new Float32Array(batch * channels * state) : widened(tensors.initialState).slice()
    return { out: { data: new Float32Array(), shape: outShape }, lastState: { data: start, shape: stateShape } }
  }
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
  const channelsFirst = input.layout === "bdl"
  /** [batch, channels, length] to the kernel's [batch, length, channels]. */
  const steps = (data: ScanData): Float32Array => (channelsFirst ? swapped(widened(data), batch, channels, length) : widened(data))
  const shared = (data: ScanData): Float32Array => (channelsFirst ? swapped(widened(data), batch, groups * state, length) : widened(data))
  const spec: ScanSpec = {
    ...{ b: batch, l: length, e: channels, n: state, groups, softplus: input.deltaSoftplus === true },
    ...{ D: tensors.D !== undefined, z: tensors.z !== undefined, bias: tensors.deltaBias !== undefined },
  }
  const { u, delta, A, B, C, D, z, deltaBias, initialState } = tensors as Required<ScanTensors>
  const inputs: Record<string, Float32Array> = {
    u: steps(u),
    dt: steps(delta),
    A: swapped(widened(A), 1, channels, state),
    B: shared(B),
    C: shared(C),
  }
  if (spec.D) inputs.D = widened(D)
  if (spec.z) inputs.z = steps(z)
  if (spec.bias) inputs.dt_bias = widened(deltaBias)
  return withProgram(sharedEngine(options.backend, options.threads), spec, async (engine, program) => {
    const memory = await engine.state(program)
    try {
      // Queued without a pause: another call with the same sizes uses the same inputs.
      const queued: Promise<unknown>[] = Object.entries(inputs).map(([name, values]) => engine.write(program, name, asBytes(values)))
      if (initialState !== undefined)
        queued.push(engine.write(memory, "h", asBytes(swapped(widened(initialState), batch, channels, state))))
      queued.push(engine.run(program, memory, { signal: options.signal }))
      const reads = [engine.read(program, "y"), engine.read(memory, "h")]
      await Promise.all([...queued, ...reads])
      const [y, h] = (await Promise.all(reads)).map((bytes) => asFloats(bytes)) as [Float32Array, Float32Array]
      return { out: channelsFirst ? swapped(y, batch, length, channels) : y.slice(), lastState: swapped(h, batch, state, channels) }
    } finally {
      engine.release(memory)
    }
  })
}
