/** `spec/ops.json` against what is made from it and what implements it. */
import { spawnSync } from "node:child_process"
import { describe, expect, test } from "vitest"
import { files, folders, json, root } from "./tree.ts"

const names = json<{ ops: { name: string }[] }>("spec/ops.json").ops.map((op) => op.name)

describe("generated files are fresh", () => {
  for (const script of ["scripts/gen-ops.ts", "scripts/gen-errors.ts"]) {
    test(script, () => {
      const { status, stderr } = spawnSync(process.execPath, ["--import", "tsx", script, "--check"], { cwd: root, encoding: "utf8" })
      expect(stderr).toBe("")
      expect(status).toBe(0)
    })
  }
})

// `batch`, `step` and `token` take nodes of several ops together, on CUDA alone: plans do not know of them, so they are no rows of the table.
test("each op has its folder in crates/ops, and no folder but those of the cases and of CUDA is without an op", () => {
  expect(folders("crates/ops/src").filter((name) => !["batch", "cases", "cuda", "step", "token"].includes(name))).toEqual([...names].sort())
})

test("each op has its launches and its kernels for CUDA", () => {
  const have = new Set(files("crates/ops/src", "/cuda.rs", "/kernel.cu"))
  const wanted = names.flatMap((name) => ["cuda.rs", "kernel.cu"].map((file) => `crates/ops/src/${name}/${file}`))
  expect(wanted.filter((path) => !have.has(path))).toEqual([])
})

test("each op has its file in ts/ops", () => {
  const have = new Set(files("ts/ops", ".ts"))
  expect(names.filter((name) => !have.has(`ts/ops/${name}.ts`))).toEqual([])
})

test("there are at most 40 ops", () => {
  expect(names.length).toBeLessThanOrEqual(40)
})
