/** Leaves in the middle of a generation and of a feed. */
import { load } from "../../../ts/index.ts"
import { way } from "../../support/backend.ts"

const model = await load(undefined, way)
model
  .session()
  .feed(Int32Array.from({ length: 100_000 }, () => 5))
  .catch(() => {})
const generation = model.generate("The compiler will", { maxNewTokens: 5000, minNewTokens: 5000 })
for (let i = 0; i < 3; i++) await generation.next()
generation.next().catch(() => {})
console.log("leaving")
process.exit(7)
