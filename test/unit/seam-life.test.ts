/** Engines in processes and worker threads that end. Each script has a process of its own. */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { expect, test } from "vitest"
import { needsBackend } from "./seam-kit.ts"

needsBackend()

interface End {
  code: number | null
  signal: string | null
  out: string
  err: string
}
const path = (file: string): string => fileURLToPath(new URL(`seam-life/${file}`, import.meta.url))

function run(script: string, flags: string[] = []): Promise<End> {
  const child = spawn(process.execPath, [...flags, path("start.mjs"), path("scripts.ts"), script], { timeout: 60_000 })
  let [out, err] = ["", ""]
  child.stdout.on("data", (data) => {
    out += data
  })
  child.stderr.on("data", (data) => {
    err += data
  })
  return new Promise((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal, out: out.trim(), err }))
  })
}
const well = { code: 0, signal: null, err: "" }

test("an idle engine keeps no process alive, though it was not disposed of", async () => {
  expect(await run("idle")).toEqual({ ...well, out: "done" })
})
test("a pending call does", async () => {
  expect(await run("pending")).toEqual({ ...well, out: "200000" })
})
test("process.exit in the middle of a run", async () => {
  expect(await run("exit")).toEqual({ ...well, code: 7, out: "" })
})
test("an uncaught exception in the middle of a run", async () => {
  expect(await run("throw")).toEqual({ code: 1, signal: null, out: "", err: expect.stringContaining("on purpose") })
})
test("process.exit with calls in the queue", async () => {
  expect(await run("queue")).toEqual({ ...well, out: "" })
})
test("two worker threads with an engine each", async () => {
  expect(await run("workers")).toEqual({ ...well, out: "[[1000],[1000],0,0]" })
})
test("terminate() in the middle of a run", async () => {
  expect(await run("terminate")).toEqual({ ...well, out: "[1000]" })
})
test("terminate() while promises are being settled", async () => {
  expect(await run("race")).toEqual({ ...well, out: "[1000]" })
})
test("a worker thread that forgot to dispose ends by itself", async () => {
  expect(await run("forgotten")).toEqual({ ...well, out: "ran 0" })
})
test("engines that nobody refers to end their threads", async (context) => {
  if (process.platform !== "linux") context.skip("threads are counted in /proc")
  expect(await run("collected", ["--expose-gc"])).toEqual({ ...well, out: "true true" })
})
