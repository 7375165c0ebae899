/** A thread with a model of its own: posts ids, or goes on until it is terminated. */
import { parentPort, workerData } from "node:worker_threads"
import { load } from "../../../ts/index.ts"
import { way } from "../../support/backend.ts"

const model = await load(undefined, way)
if (workerData.endless) {
  for await (const piece of model.generate("The compiler will", { maxNewTokens: 1_000_000, minNewTokens: 1_000_000 })) {
    if (piece.index === 20) parentPort?.postMessage("under way")
  }
}
const { tokens } = await model.complete("The compiler will", { maxNewTokens: 30 })
parentPort?.postMessage(tokens)
await model.dispose()
