// @ts-check
// Selectivity, seen: a scan whose step size Δ decides what to keep.   node examples/selective-scan.js
import { selectiveScan } from "statespace/ops"

// One channel, one state. h ← exp(Δ A) h + Δ B u, y = C h. Where Δ is 0 the state passes unchanged; where it is large the past is forgotten.
const length = 12
const u = new Float32Array(length).map((_, t) => Math.sin(t))
const delta = new Float32Array(length).map((_, t) => (t % 4 === 0 ? 20 : 0))
const ones = new Float32Array(length).fill(1)

const { out } = await selectiveScan({
  u: { data: u, shape: [length, 1] },
  delta: { data: delta, shape: [length, 1] },
  A: { data: Float32Array.of(-1), shape: [1, 1] },
  B: { data: ones, shape: [length, 1] },
  C: { data: ones, shape: [length, 1] },
  layout: "bld",
})
const column = (/** @type {number | undefined} */ x) => (x ?? 0).toFixed(3).padStart(6)
for (let t = 0; t < length; t++) {
  console.log(`t ${String(t).padStart(2)}   Δ ${column(delta[t])}   input ${column(u[t])}   remembered ${column((out.data[t] ?? 0) / 20)}`)
}
