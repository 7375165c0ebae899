/** Two threads with a model each, and a third that is terminated in the middle. */
import { Worker } from "node:worker_threads"

const start = (endless: boolean): Worker => new Worker(new URL("./worker.mjs", import.meta.url), { workerData: { endless }, execArgv: [] })
const message = (worker: Worker): Promise<unknown> =>
  new Promise((resolve, reject) => {
    worker.once("message", resolve).once("error", reject)
  })
const [one, two] = await Promise.all([message(start(false)), message(start(false))])
const third = start(true)
await message(third)
await third.terminate()
console.log(
  JSON.stringify({
    equal: JSON.stringify(one) === JSON.stringify(two),
    again: JSON.stringify(await message(start(false))) === JSON.stringify(one),
  }),
)
