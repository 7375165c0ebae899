/** Shapes of `selectiveScan`: one description of what the caller gave, or an error that names both sides of what does not fit. */
import { OptionError } from "../errors.ts"
import type { NumericArray } from "./types.ts"

/** f32, or bf16 as its bits. */
export type ScanData = Float32Array | Uint16Array
/** Numbers whose shape follows from the others, or with their shape. */
export type ScanArray = ScanData | { readonly data: ScanData; readonly shape: readonly number[] }

export interface SelectiveScanInput {
  /** "bld": time before channels, as models hold it; "bdl": channels before time, as the reference's kernel wants it. */
  layout: "bld" | "bdl"
  /** [batch, length, channels] ("bld") or [batch, channels, length] ("bdl"); the batch axis may be left out everywhere. */
  u: ScanArray
  /** Shape of `u`, when that is a bare typed array. */
  shape?: readonly number[]
  /** Δ before bias and softplus, like `u`. */
  delta: ScanArray
  /** [channels, state], negative for a stable scan. */
  A: ScanArray
  /** [batch, length, groups · state] or [batch, length, groups, state] ("bld"), [batch, state, length] or [batch, groups, state, length] ("bdl"). */
  B: ScanArray
  /** Like `B`. */
  C: ScanArray
  /** `[channels]`: adds D · u. */
  D?: ScanArray
  /** Like `u`: multiplies the output by silu(z). */
  z?: ScanArray
  /** `[channels]`: added to delta. */
  deltaBias?: ScanArray
  /** Δ = softplus(delta + deltaBias) instead of the sum itself. Default false. */
  deltaSoftplus?: boolean
  /** `[batch, channels, state]`: h before the first step. Default zeros. */
  initialState?: ScanArray
}

export interface SelectiveScanResult {
  /** Like `u`, f32. */
  out: NumericArray
  /** `[batch, channels, state]`: h after the last step. */
  lastState: NumericArray
}

export interface ScanSizes {
  batch: number
  length: number
  channels: number
  state: number
  groups: number
  batched: boolean
}

const show = (shape: readonly number[]): string => `[${shape.join(", ")}]`
const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

function misfit(message: string, fix: string): OptionError {
  return new OptionError("SCAN_SHAPE", message, { fix })
}

function dataOf(name: string, value: unknown): ScanData {
  const data = value !== null && typeof value === "object" && "data" in value ? value.data : value
  if (data instanceof Float32Array || data instanceof Uint16Array) return data
  throw new OptionError(
    "SCAN_TYPE",
    `selectiveScan: ${name} is ${value === null ? "null" : Array.isArray(data) ? "an array" : `of type ${typeof data}`}.`,
    {
      fix: "Give a Float32Array, a Uint16Array of bf16 bits, or { data, shape } of one.",
    },
  )
}

const shapeOf = (value: ScanArray): readonly number[] | undefined => ("shape" in value ? value.shape : undefined)

/** The numbers of one tensor, which must have one of these shapes (a bare array: their number of elements). */
function fitted(name: string, value: ScanArray, shapes: readonly (readonly number[])[]): ScanData {
  const data = dataOf(name, value)
  const shape = shapeOf(value)
  const expected = shapes.map(show).join(" or ")
  if (shape !== undefined && !shapes.some((wanted) => wanted.length === shape.length && wanted.every((size, i) => size === shape[i]))) {
    throw misfit(
      `selectiveScan: ${name} has shape ${show(shape)}; u and A ask for ${expected}.`,
      "Check the layout and the order of the axes.",
    )
  }
  const count = product(shapes[0] as number[])
  if (data.length !== count) {
    throw misfit(`selectiveScan: ${name} holds ${data.length} numbers; ${expected} are ${count}.`, "Give as many numbers as the shape has.")
  }
  return data
}

/** Sizes, from the shape of `u` and the numbers of elements of A and B. */
function sizesOf(input: SelectiveScanInput): ScanSizes {
  const shape = shapeOf(input.u) ?? input.shape
  if (shape === undefined)
    throw misfit("selectiveScan: the shape of u is not known.", "Give u as { data, shape }, or `shape` beside a bare array.")
  const whole = shape.every((size) => Number.isSafeInteger(size) && size >= 0)
  if ((shape.length !== 2 && shape.length !== 3) || !whole) {
    throw misfit(
      `selectiveScan: u has shape ${show(shape)}.`,
      "Give [batch, length, channels] in the order of the layout, with or without batch.",
    )
  }
  const batched = shape.length === 3
  const [batch, first, second] = (batched ? shape : [1, ...shape]) as [number, number, number]
  const [length, channels] = input.layout === "bld" ? [first, second] : [second, first]
  if (batch === 0 || channels === 0) throw misfit(`selectiveScan: u has shape ${show(shape)}.`, "Only the length may be 0.")
  const state = dataOf("A", input.A).length / channels
  if (!Number.isInteger(state) || state < 1) {
    throw misfit(`selectiveScan: A holds ${dataOf("A", input.A).length} numbers for ${channels} channels.`, "Give A as [channels, state].")
  }
  const groups = length === 0 ? 1 : dataOf("B", input.B).length / (batch * length * state)
  if (!Number.isInteger(groups) || groups < 1 || channels % groups !== 0) {
    const sizes = `batch ${batch}, length ${length} and state ${state}`
    throw misfit(
      `selectiveScan: B holds ${dataOf("B", input.B).length} numbers for ${sizes}, which makes ${groups} groups of ${channels} channels.`,
      "Give batch · length · groups · state numbers, with groups dividing the channels.",
    )
  }
  return { batch, length, channels, state, groups, batched }
}

export type ScanTensors = Partial<Record<"u" | "delta" | "A" | "B" | "C" | "D" | "z" | "deltaBias" | "initialState", ScanData>>

/** Checks every tensor against the sizes. Throws OptionError. */
export function readScan(input: SelectiveScanInput): { sizes: ScanSizes; tensors: ScanTensors } {
  if (input.layout !== "bld" && input.layout !== "bdl") {
    throw new OptionError("OPTION_RANGE", `selectiveScan: layout is ${JSON.stringify(input.layout)}.`, { fix: 'Give "bld" or "bdl".' })
  }
  const sizes = sizesOf(input)
  const { batch, length, channels, state, groups, batched } = sizes
  const rows = (...shape: number[]): number[] => (batched ? [batch, ...shape] : shape)
  const steps = [input.layout === "bld" ? rows(length, channels) : rows(channels, length)]
  const shared =
    input.layout === "bld"
      ? [rows(length, groups * state), rows(length, groups, state)]
      : [...(groups === 1 ? [rows(state, length)] : []), rows(groups, state, length)]
  const shapes: Record<keyof ScanTensors, readonly number[][]> = {
    u: steps,
    delta: steps,
    A: [[channels, state]],
    B: shared,
    C: shared,
    D: [[channels]],
    z: steps,
    deltaBias: [[channels]],
    initialState: [rows(channels, state)],
  }
  const tensors: ScanTensors = {}
  for (const name of Object.keys(shapes) as (keyof ScanTensors)[]) {
    const value = input[name]
    if (value !== undefined || ["u", "delta", "A", "B", "C"].includes(name)) tensors[name] = fitted(name, value as ScanArray, shapes[name])
  }
  return { sizes, tensors }
}
