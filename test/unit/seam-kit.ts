/** Plans of a node or two, written by hand, and what the tests of the seam share. */
import { beforeEach } from "vitest"
import type { Backend } from "../../ts/backend/interface.ts"
import { opset } from "../../ts/plan/lower.ts"
import { backendMissing, openBackend } from "../support/backend.ts"

const missing = await backendMissing()

/** The backend under test; tests that need it are skipped where it is not. */
export const backend: Backend = missing === undefined ? await openBackend() : (undefined as never)
export function needsBackend(): void {
  beforeEach((context) => {
    if (missing) context.skip(missing)
  })
}

type Parts = { spaces?: object; weights?: object[]; buffers: object[]; nodes: object[]; inputs?: object; outputs?: object; state?: object }

function plan(name: string, { spaces, weights = [], buffers, nodes, inputs = {}, outputs = {}, state = {} }: Parts): string {
  const all = { temp: 0, state: 0, io: 0, ...spaces }
  const numbered = <T extends object>(list: T[]): object[] => list.map((entry, id) => ({ id, ...entry }))
  const head = { format: 1, opset, name, spaces: all, weights, buffers: numbered(buffers) }
  const at = nodes.map((node) => ({ attrs: {}, at: `test ${name}`, ...node }))
  return JSON.stringify({ ...head, nodes: numbered(at), inputs, outputs, state })
}
const room = (floats: number): number => Math.ceil((4 * floats) / 256) * 256
const placed = (name: string, space: string, shape: number[], offset = 0, dtype = "f32"): object => {
  return { name, dtype, shape, space, offset, bytes: 4 * shape.reduce((a, b) => a * b, 1) }
}

/** y = softplus(softplus(x)), [1, 1, n]. */
export function softplusTwice(n: number): string {
  const shape = [1, 1, n]
  return plan("softplus twice", {
    spaces: { temp: room(n), io: 2 * room(n) },
    buffers: [placed("x", "io", shape), placed("h", "temp", shape), placed("y", "io", shape, room(n))],
    nodes: [
      { op: "softplus", in: [0, null], out: [1] },
      { op: "softplus", in: [1, null], out: [2] },
    ],
    inputs: { x: 0 },
    outputs: { y: 2 },
  })
}

/** acc += x, [1, 1, n]; `acc` is named `name`. */
export function accumulate(n: number, name = "acc"): string {
  return plan("accumulate", {
    spaces: { state: room(n), io: room(n) },
    buffers: [placed("x", "io", [1, 1, n]), placed(name, "state", [1, n])],
    nodes: [{ op: "sum_rows", in: [0, 1, null], out: [] }],
    inputs: { x: 0 },
    state: { [name]: 1 },
  })
}

/** y = row `tokens[0]` of the weight `table` [rows, d]. */
export function lookUp(rows: number, d: number, as: "stored" | "f32" = "stored"): string {
  return plan("look up", {
    spaces: { io: 256 + room(d) },
    weights: [{ buffer: 1, key: "table", as, transpose: false, dtype: "f32", shape: [rows, d] }],
    buffers: [
      placed("tokens", "io", [1, 1], 0, "i32"),
      { name: "table", dtype: "f32", shape: [rows, d], space: "weights" },
      placed("y", "io", [1, 1, d], 256),
    ],
    nodes: [{ op: "embed", in: [0, 1, null], out: [2] }],
    inputs: { tokens: 0 },
    outputs: { y: 2 },
  })
}

/** More steps than any test waits for. */
export const endless = 0xffff_ffff

export const bytes = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer)
export const ints = (...values: number[]): Uint8Array => new Uint8Array(Int32Array.from(values).buffer)
export const floats = (from: Uint8Array): number[] => [...new Float32Array(from.slice().buffer)]
export const softplus = (x: number): number => Math.log1p(Math.exp(x))
