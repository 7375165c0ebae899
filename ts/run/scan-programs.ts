/** The programs of `selectiveScan`. They take arrays as callers hold them: the kernel's layout and type are reached by nodes. */
import { Graph } from "../graph/graph.ts"
import { reshape, type Tensor } from "../graph/tensor.ts"
import { cast, scan, transpose } from "../ops/index.ts"
import { lower } from "../plan/lower.ts"
import type { Plan } from "../plan/types.ts"

export type ScanInputName = "u" | "delta" | "A" | "B" | "C" | "D" | "z" | "deltaBias" | "initialState"

/** Sizes and options of a scan: b rows, l steps, e channels, n numbers of state per channel. */
export interface ScanSpec {
  b: number
  l: number
  e: number
  n: number
  groups: number
  softplus: boolean
  layout: "bld" | "bdl"
  /** Types of the inputs; one that is not here is absent. */
  dtypes: Readonly<Partial<Record<ScanInputName, "f32" | "bf16">>>
}

/** One program in the making; all of a spec have the one state `h` f32[b, n, e]. */
class ScanGraph {
  readonly graph: Graph = new Graph()
  readonly h: Tensor
  readonly #spec: ScanSpec

  constructor(spec: ScanSpec) {
    this.#spec = spec
    this.h = this.graph.stateBuffer("h", "f32", [spec.b, spec.n, spec.e])
  }

  /** An input in f32. */
  input(name: ScanInputName, ...shape: number[]): Tensor {
    const tensor = this.graph.input(name, this.#spec.dtypes[name] ?? "f32", shape)
    return tensor.dtype === "f32" ? tensor : cast(tensor, "f32")
  }

  /** An input with a row of `width` numbers for every step, as f32[b, l, width]. */
  steps(name: ScanInputName, width: number): Tensor {
    const { b, l, layout } = this.#spec
    return layout === "bld" ? this.input(name, b, l, width) : transpose(this.input(name, b, width, l))
  }

  vector(name: ScanInputName): Tensor | undefined {
    const { e, dtypes } = this.#spec
    return dtypes[name] && reshape(this.input(name, 1, 1, e), [e])
  }

  plan(part: string, output: string, body: () => Tensor): Plan {
    const { b, l, e, n } = this.#spec
    this.graph.output(output, this.graph.at("selectiveScan", body))
    return lower(this.graph, `selectiveScan/${part} b${b} l${l} e${e} n${n}`)
  }
}

/** Inputs u, delta, A, B, C, D, z, deltaBias in the caller's layout and types, A as [e, n]; output y like u; state h. */
function scanProgram(spec: ScanSpec): Plan {
  const { e, n, groups, softplus, layout, dtypes } = spec
  const program = new ScanGraph(spec)
  return program.plan("scan", "y", () => {
    const y = scan(program.steps("u", e), program.steps("delta", e), {
      A: reshape(transpose(program.input("A", 1, e, n)), [n, e]),
      B: program.steps("B", groups * n),
      C: program.steps("C", groups * n),
      D: program.vector("D"),
      z: dtypes.z && program.steps("z", e),
      dtBias: program.vector("deltaBias"),
      ...{ state: program.h, softplus, groups },
    })
    return layout === "bld" ? y : transpose(y)
  })
}

export interface ScanPlans {
  scan: Plan
  /** Input initialState [b, e, n], output `start`: the bytes of h. No op writes into a state, so the host carries them over. */
  enter?: Plan
  /** Output lastState f32[b, e, n], from h. Its own program, since a plan that updates a state cannot read it afterwards. */
  leave: Plan
}

export function buildScanPlans(spec: ScanSpec): ScanPlans {
  const { b, e, n } = spec
  const [enter, leave] = [new ScanGraph(spec), new ScanGraph(spec)]
  return {
    scan: scanProgram(spec),
    leave: leave.plan("leave", "lastState", () => transpose(leave.h)),
    ...(spec.dtypes.initialState && { enter: enter.plan("enter", "start", () => transpose(enter.input("initialState", b, e, n))) }),
  }
}
