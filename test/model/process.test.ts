/** The engine's threads and the process around them. Each script runs in a process of its own. */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { expect, test } from "vitest"

function run(script: string): Promise<{ code: number | null; signal: string | null; out: string; err: string }> {
  const path = fileURLToPath(new URL(`process/${script}.mts`, import.meta.url))
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ["--import", "tsx", path], { timeout: 60_000 })
    let [out, err] = ["", ""]
    child.stdout.on("data", (data) => {
      out += data
    })
    child.stderr.on("data", (data) => {
      err += data
    })
    child.on("close", (code, signal) => resolve({ code, signal, out: out.trim(), err }))
  })
}

test("an idle engine keeps no process alive, though nothing was disposed", async () => {
  expect(await run("idle")).toEqual({ code: 0, signal: null, out: "5", err: "" })
})
test("process.exit in the middle of a generation and a feed", async () => {
  expect(await run("exit")).toEqual({ code: 7, signal: null, out: "leaving", err: "" })
})
test("two worker threads with a model each, and terminate() in the middle of a third", async () => {
  expect(await run("workers")).toEqual({ code: 0, signal: null, out: '{"equal":true,"again":true}', err: "" })
})
