/** How large the rooms may grow, in lines of code. Raising a number is a change of its own, with its reason. */
import { expect, test } from "vitest"
import { codeLines, files, sources, withoutTests } from "./tree.ts"

function total(paths: string[]): number {
  return paths.filter((path) => !path.includes(".gen.")).reduce((sum, path) => sum + codeLines(path), 0)
}
const ts = (...rooms: string[]): string[] => rooms.flatMap((room) => files(`ts/${room}`, ".ts"))

test("graph, ops and plan stay within 2000 lines", () => {
  expect(total(ts("graph", "ops", "plan"))).toBeLessThanOrEqual(2000)
})

// Two threads with a line between them, errors and files that cross it, and both kinds of Worker: a room of its own beside the seam. 1000
// until the Worker read checkpoints and asked its page meanwhile.
test("the wasm backend stays within 1100 lines", () => {
  expect(total(ts("backend/wasm"))).toBeLessThanOrEqual(1100)
})

// What a page needs that Node has by itself: files over the network, a cache that checks what it gives back; and, since 700 lines, both sides
// of a checkpoint that the Worker reads and whose files the page keeps.
test("what differs between Node and browsers stays within 950 lines", () => {
  expect(total(ts("io/web", "platform"))).toBeLessThanOrEqual(950)
})

// 4300 until checkpoints came from addresses, files and memory as well as from paths, and the scan's engine from either platform; 5200 until
// there were GPUs to look for, to fit into, and to go back from; 5300 until tokenizers and weights could lie in another thread.
test("the rest of ts stays within 5500 lines", () => {
  const counted = new Set(ts("graph", "ops", "plan", "cli", "backend/wasm", "io/web", "platform"))
  expect(total(files("ts", ".ts").filter((path) => !counted.has(path)))).toBeLessThanOrEqual(5500)
})

test("the CLI stays within 1000 lines", () => {
  expect(total(ts("cli"))).toBeLessThanOrEqual(1000)
})

const isCuda = (path: string): boolean => /^crates\/engine\/(src\/cuda\/|tests\/cuda\.rs)/.test(path)

// 4300 until engines got a third executor, which each of their verbs names.
test("crates plan and engine stay within 4500 lines", () => {
  const rest = [...files("crates/plan", ".rs"), ...files("crates/engine", ".rs")].filter((path) => !isCuda(path))
  expect(total(rest)).toBeLessThanOrEqual(4500)
})

// The driver's calls, each with its reason to be sound; an emulated device beside it; the programs that both run.
// 1500 until it launched nodes together and chose which values are kept in bf16; 1600 until it launched all layers together.
test("the CUDA executor stays within 1700 lines", () => {
  expect(total(files("crates/engine", ".rs").filter(isCuda))).toBeLessThanOrEqual(1700)
})

test("crate simd stays within 2500 lines", () => {
  expect(total(files("crates/simd", ".rs"))).toBeLessThanOrEqual(2500)
})

test("the Node shell stays within 250 lines", () => {
  expect(total(files("bindings/node", ".rs"))).toBeLessThanOrEqual(250)
})

// What kernels share, and the CUDA of tests: threads, barriers and shuffles in C++, stricter than a GPU.
// 900 until kernels whose warps have different parts had barriers between them; 1000 until the kernels of a token read weights as those of
// linear do, and which values may be bf16 was asked of the ops; 1100 until blocks could wait for each other, and products of matrices were
// instructions; 1200 until rows were copied that arrive at barriers in memory.
test("the ground of the CUDA kernels stays within 1300 lines", () => {
  expect(total(files("crates/ops/src/cuda", ".rs", ".cu", ".cuh", ".h", ".cpp"))).toBeLessThanOrEqual(1300)
})

// An op's kernels are one text, which three compilers read without an include: kernel.cu, and before it what would make that too long.
test("no file is longer than 400 lines, no op's kernels than 450", () => {
  const most = (path: string): number => (/^crates\/ops\/src\/\w+\/\w+\.cuh?$/.test(path) ? 450 : 400)
  expect(sources().filter((path) => withoutTests(path).split("\n").length > most(path) + 1)).toEqual([])
})
