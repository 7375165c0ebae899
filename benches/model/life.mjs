// @ts-check The embedded model's daily costs: CLI start to first token (fresh processes), save, restore and fork of a session. Medians with
//   spread, one JSON object on stdout.
//   node benches/model/life.mjs [runs]
import { spawn } from "node:child_process"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { load } from "statespace"
import { summary } from "./summary.mjs"

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..")
const runs = Number(process.argv[2] ?? 20)

const coldStart = []
for (let i = 0; i < runs; i++) {
  const start = performance.now()
  const child = spawn(
    process.execPath,
    [join(root, "dist", "cli", "main.js"), "generate", "The compiler will", "--max-new-tokens", "1", "--json"],
    { stdio: ["ignore", "pipe", "inherit"] },
  )
  await new Promise((resolve) => child.stdout.once("data", resolve))
  coldStart.push(performance.now() - start)
  await new Promise((resolve) => (child.exitCode === null ? child.once("exit", resolve) : resolve(0)))
}

const model = await load()
const session = model.session()
await session.feed("The borrow checker reads every function once and ")
await session.logits()
/** @type {Record<"save" | "restore" | "fork", number[]>} */
const times = { save: [], restore: [], fork: [] }
/** @param {"save" | "restore" | "fork"} what @param {() => Promise<unknown>} body */
const time = async (what, body) => {
  const start = performance.now()
  await body()
  times[what].push(performance.now() - start)
}
const bytes = await session.save()
for (let i = 0; i < runs * 5; i++) {
  await time("save", () => session.save())
  // A restore and a fork are done when the engine has acted on them: ask for the logits that came along.
  await time("restore", async () => {
    const restored = model.session(bytes)
    await restored.logits()
    await restored.dispose()
  })
  await time("fork", async () => {
    const other = session.fork()
    await other.logits()
    await other.dispose()
  })
}
await model.dispose()
console.log(
  JSON.stringify(
    { unit: "ms", coldStart: summary(coldStart), save: summary(times.save), restore: summary(times.restore), fork: summary(times.fork) },
    null,
    1,
  ),
)
