/** One loaded checkpoint on one engine: programs by need, and the few runs that everything else is made of. */
import type { Engine, ProgramHandle, StateHandle, WeightsHandle } from "../backend/interface.ts"
import { CheckpointError, DeviceError, MemoryLimitError } from "../errors.ts"
import { joined } from "../io/bytes.ts"
import type { LanguageModel, TensorTable } from "../models/family.ts"
import type { Plan } from "../plan/types.ts"
import { allFinite, asBytes, asFloats, asInts } from "./numbers.ts"
import { buildProgram, type ProgramSpec } from "./programs.ts"
import { rngRow, type Sampling, samplerRow } from "./sampling.ts"

/** Positions that one run of a chunk program takes, over all its rows; more do not make the matrix products faster. */
export const chunkRows = 512
/** Steps that a step program can record in one run: the slots of its outputs. */
export const maxSteps = 8

/** The same on a GPU, where they do, as long as so many are nearly filled; the largest comes first. */
const gpuChunkRows = [16384, 8192, 2048]
/** Rows of a batch that run together at most: more gain nothing on a CPU, and each size is a program of its own. */
const maxRows = { cpu: 64, gpu: 256 }

/** Positions of a chunk program for b rows: memory stays about that of one row. */
export function chunkLength(rows: number): number {
  return Math.max(32, Math.floor(chunkRows / rows))
}

export type ChunkOutputs = Omit<Extract<ProgramSpec, { kind: "chunk" }>, "kind" | "b" | "l" | "compute">
export interface StepOutput {
  tokens: Int32Array
  logprobs: Float32Array
}

/** What is asked of a plan on every call; tracing one takes milliseconds. */
interface Outline {
  memory: [string, number][]
  /** Size of the last axis of each output, in order of the trace. */
  widths: ReadonlyMap<string, number>
}

/** What a program takes, in bytes. A session keeps two states: its own and the copy that it can go back to. */
export function memoryOf({ spaces: { temp, state, io } }: Plan): [string, number][] {
  return [
    ["activations", temp],
    ["state", 2 * state],
    ["inputs and outputs", io],
  ]
}

export class Runner {
  readonly engine: Engine
  readonly model: LanguageModel
  readonly memoryLimit: number
  /** Rows of a batch that run together at most. */
  readonly maxRows: number
  /** Whether this thread is free while programs run, which then are to follow each other without it. */
  readonly isGpu: boolean
  readonly #weights: WeightsHandle
  readonly #tensors: TensorTable
  readonly #compute: "f32" | "bf16"
  readonly #programs = new Map<string, Promise<ProgramHandle>>()
  readonly #outlines = new Map<string, Outline>()
  /** Traced already, by their specs, until they are loaded. */
  readonly #plans: Map<string, Plan>

  constructor(parts: {
    engine: Engine
    weights: WeightsHandle
    model: LanguageModel
    tensors: TensorTable
    compute: "f32" | "bf16"
    memoryLimit: number
    plans?: Map<string, Plan> | undefined
    isGpu: boolean
  }) {
    this.engine = parts.engine
    this.#weights = parts.weights
    this.model = parts.model
    this.#tensors = parts.tensors
    this.#compute = parts.compute
    this.memoryLimit = parts.memoryLimit
    this.#plans = parts.plans ?? new Map()
    this.isGpu = parts.isGpu
    this.maxRows = parts.isGpu ? maxRows.gpu : maxRows.cpu
  }

  /** Positions of the next chunk program for b rows, of which the longest has so many to be fed. */
  chunkLength(rows: number, left: number): number {
    const lengths = this.isGpu ? gpuChunkRows.map((positions) => Math.floor(positions / rows)) : []
    const fits = (l: number): boolean => 0.75 * l <= left && this.fits({ kind: "chunk", b: rows, l })
    return lengths.find((l) => l > chunkLength(rows) && fits(l)) ?? chunkLength(rows)
  }

  /** The program, traced and loaded on first use. */
  program(spec: ProgramSpec): Promise<ProgramHandle> {
    const key = JSON.stringify(spec)
    let program = this.#programs.get(key)
    if (program === undefined) {
      program = this.#load(spec)
      this.#programs.set(key, program)
      program.catch(() => this.#programs.delete(key))
    }
    return program
  }

  async #load(spec: ProgramSpec): Promise<ProgramHandle> {
    const key = JSON.stringify(spec)
    const plan = this.#plans.get(key) ?? this.#plan(spec)
    this.#plans.delete(key)
    this.require(memoryOf(plan), `Program ${plan.name}`)
    return this.engine.load(JSON.stringify(plan), this.#weights)
  }

  #plan(spec: ProgramSpec): Plan {
    return buildProgram(this.model, this.#tensors, { ...spec, compute: this.#compute })
  }

  #outline(spec: ProgramSpec): Outline {
    const key = JSON.stringify(spec)
    let outline = this.#outlines.get(key)
    if (outline === undefined) {
      const plan = this.#plan(spec)
      const widths = Object.entries(plan.outputs).map(([name, id]) => [name, plan.buffers[id]?.shape.at(-1) as number] as const)
      outline = { memory: memoryOf(plan), widths: new Map(widths) }
      this.#outlines.set(key, outline)
    }
    return outline
  }

  /** Whether a program stays within the memory limit. Nothing is loaded. */
  fits(spec: ProgramSpec): boolean {
    return this.#outline(spec).memory.reduce((sum, [, bytes]) => sum + bytes, 0) <= this.memoryLimit
  }

  /** Size of the last axis of each output, in order of the trace. Nothing is loaded. */
  outputWidths(spec: ProgramSpec): ReadonlyMap<string, number> {
    return this.#outline(spec).widths
  }

  /** Throws MemoryLimitError unless the parts fit the limit together. Sizes in bytes. */
  require(parts: readonly (readonly [name: string, bytes: number])[], what: string): void {
    const needed = parts.reduce((sum, [, bytes]) => sum + bytes, 0)
    if (needed <= this.memoryLimit) return
    const largest = parts.reduce((a, b) => (b[1] > a[1] ? b : a))[0]
    const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`
    throw new MemoryLimitError(
      "MEMORY_LIMIT",
      `${what} needs ${mib(needed)}, most of it for ${largest}; the limit is ${mib(this.memoryLimit)}.`,
      {
        needed,
        limit: this.memoryLimit,
        largest,
        fix: "Ask for less at once (fewer rows, logitsToKeep, a shorter input), or raise `memoryLimit` in load().",
      },
    )
  }

  async newState(rows: number): Promise<StateHandle> {
    return this.engine.state(await this.program({ kind: "step", b: rows }))
  }

  /**
   * Feeds up to `length` (default: the module's `chunkLength`) ids of each row and reads outputs. Everything is queued before the first await, so
   * that another session cannot come between the writing of an input and the run that reads it.
   */
  async chunk<K extends string>(
    state: StateHandle,
    rows: readonly Int32Array[],
    options: { outputs?: ChunkOutputs; targets?: Int32Array; read?: readonly K[]; length?: number; signal?: AbortSignal | undefined } = {},
  ): Promise<Record<K, Uint8Array>> {
    const b = rows.length
    const l = options.length ?? chunkLength(b)
    const program = await this.program({ kind: "chunk", b, l, ...options.outputs })
    const { engine } = this
    const tokens = new Int32Array(b * l)
    rows.forEach((ids, row) => {
      tokens.set(ids, row * l)
    })
    const pending: Promise<unknown>[] = [
      engine.write(program, "tokens", asBytes(tokens)),
      engine.write(state, "lens", asBytes(Int32Array.from(rows, (ids) => ids.length))),
    ]
    if (options.targets !== undefined) pending.push(engine.write(program, "targets", asBytes(options.targets)))
    pending.push(engine.run(program, state, { signal: options.signal }))
    const names = options.read ?? []
    const reads = names.map((name) => engine.read(program, name))
    await Promise.all([...pending, ...reads])
    const values = await Promise.all(reads)
    return Object.fromEntries(names.map((name, i) => [name, values[i]])) as Record<K, Uint8Array>
  }

  /** Feeds the pending token of a one-row state and returns the logits after it, [vocabSize]. */
  async logits(state: StateHandle, token: number, signal?: AbortSignal): Promise<Float32Array> {
    const program = await this.program({ kind: "logits", b: 1 })
    const { engine } = this
    const read = engine.read.bind(engine, program, "logits")
    const all = [
      engine.write(state, "tokens", asBytes(Int32Array.of(token))),
      engine.write(state, "lens", asBytes(Int32Array.of(1))),
      engine.run(program, state, { signal }),
      read(),
    ]
    await Promise.all(all)
    const logits = asFloats((await all[3]) as Uint8Array).slice(0, this.model.vocabSize)
    if (!allFinite(logits)) throw await this.nonFinite()
    return logits
  }

  /** Prepares rows for `step` and `sample`. */
  async prepare(
    state: StateHandle,
    sampling: Sampling,
    rows: readonly { seed: bigint; counter: bigint; seen: Uint8Array }[],
    eos: readonly number[],
  ): Promise<void> {
    const { engine } = this
    const eosList = new Int32Array(16).fill(-1)
    eosList.set(eos)
    await Promise.all([
      engine.write(
        state,
        "sampler",
        joined(
          rows.map((row) => asBytes(samplerRow(sampling, row.counter))),
          Uint8Array,
        ),
      ),
      engine.write(
        state,
        "rng",
        joined(
          rows.map((row) => asBytes(rngRow(row.seed, row.counter))),
          Uint8Array,
        ),
      ),
      engine.write(
        state,
        "seen",
        joined(
          rows.map((row) => row.seen),
          Uint8Array,
        ),
      ),
      engine.write(state, "eos", asBytes(eosList)),
    ])
  }

  /** Feeds each live row's pending token and draws the next one, `steps` times. Outputs are [rows, maxSteps]. */
  async step(state: StateHandle, tokens: Int32Array, lens: Int32Array, steps: number, signal?: AbortSignal): Promise<StepOutput> {
    const program = await this.program({ kind: "step", b: tokens.length })
    const { engine } = this
    return this.#drawn(program, [
      engine.write(state, "tokens", asBytes(tokens)),
      engine.write(state, "lens", asBytes(lens)),
      engine.run(program, state, { steps, signal }),
    ])
  }

  /** `steps` more after `step` or this: what rows are fed, and which of them are over, is what the engine left in the state. */
  async more(state: StateHandle, rows: number, steps: number, signal?: AbortSignal): Promise<StepOutput> {
    const program = await this.program({ kind: "step", b: rows })
    return this.#drawn(program, [this.engine.run(program, state, { steps, signal })])
  }

  /** Draws a token from logits that are already known. */
  async sample(state: StateHandle, logits: Float32Array, signal?: AbortSignal): Promise<StepOutput> {
    const program = await this.program({ kind: "sample", b: 1 })
    const { engine } = this
    return this.#drawn(program, [
      engine.write(program, "logits", asBytes(logits)),
      engine.write(state, "lens", asBytes(Int32Array.of(1))),
      engine.run(program, state, { signal }),
    ])
  }

  async #drawn(program: ProgramHandle, queued: Promise<void>[]): Promise<StepOutput> {
    const token = this.engine.read(program, "token")
    const logprob = this.engine.read(program, "logprob")
    await Promise.all([...queued, token, logprob])
    return { tokens: asInts(await token), logprobs: asFloats(await logprob) }
  }

  /** The error for a logit that is not a number: a damaged tensor, if there is one. */
  async nonFinite(): Promise<CheckpointError | DeviceError> {
    const name = await this.engine.firstNonFinite(this.#weights)
    if (name !== null) {
      return new CheckpointError("CHECKPOINT_NON_FINITE", `The logits are not finite, and tensor ${name} holds a NaN or an infinity.`, {
        fix: "Get the checkpoint again; this file is damaged.",
      })
    }
    return new DeviceError("DEVICE_NON_FINITE", "The logits are not finite although every weight is.", {
      fix: 'Load with compute: "f32"; if that does not help, this input overflows the model.',
    })
  }
}
