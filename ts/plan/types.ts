/** The plan as `spec/plan.md` defines it. */
export type DType = "f32" | "bf16" | "f16" | "i32" | "u32" | "u8"
export type Space = "weights" | "temp" | "state" | "io"

export const dtypeSize: Record<DType, number> = { f32: 4, bf16: 2, f16: 2, i32: 4, u32: 4, u8: 1 }

export interface PlacedBuffer {
  id: number
  name: string
  dtype: DType
  shape: number[]
  space: "temp" | "state" | "io"
  offset: number
  bytes: number
}
export interface WeightBuffer {
  id: number
  name: string
  dtype: DType
  shape: number[]
  space: "weights"
}
export interface ViewBuffer {
  id: number
  name: string
  dtype: DType
  shape: number[]
  view: { of: number; byte: number; ld?: number }
}
export type PlanBuffer = PlacedBuffer | WeightBuffer | ViewBuffer

export interface PlanWeight {
  buffer: number
  key: string
  as: "stored" | "f32" | "negexp"
  transpose?: boolean
  dtype: DType
  shape: number[]
}
export interface PlanNode {
  id: number
  op: string
  in: (number | null)[]
  out: number[]
  attrs: Record<string, number | boolean | string>
  at: string
}

export interface Plan {
  format: 1
  opset: string
  name: string
  spaces: { temp: number; state: number; io: number }
  weights: PlanWeight[]
  buffers: PlanBuffer[]
  nodes: PlanNode[]
  inputs: Record<string, number>
  outputs: Record<string, number>
  state: Record<string, number>
}
