/** Generates, disposes nothing, and ends when there is nothing left to do. */
import { load } from "../../../ts/index.ts"

import { selectiveScan, way } from "../../support/backend.ts"

const model = await load(undefined, way)
const session = model.session()
await session.feed("The compiler")
const { tokens } = await model.complete("The compiler will", { maxNewTokens: 5 })
const one = Float32Array.of(1)
await selectiveScan({ layout: "bld", shape: [1, 1], u: one, delta: one, A: one, B: one, C: one })
console.log(tokens.length)
