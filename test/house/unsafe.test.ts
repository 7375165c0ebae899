/** Where `unsafe` may be written. That each block says why it is sound is clippy's to check; that clippy is asked is checked here. */
import { expect, test } from "vitest"
import { files, read } from "./tree.ts"

const allowed = [
  /^crates\/simd\//,
  /^crates\/engine\/src\/(arena|pool|weights)\.rs$/,
  // NVIDIA's libraries.
  /^crates\/engine\/src\/cuda\/driver\/\w+\.rs$/,
  // Calls the emulator, the C++ that stands in for a GPU in tests.
  /^crates\/ops\/src\/cuda\/emulator\.rs$/,
  /^bindings\//,
]

/** Code without comments and string literals. */
function code(text: string): string {
  return text.replace(/\/\/.*|\/\*[\s\S]*?\*\/|"(?:[^"\\]|\\.)*"/g, "")
}

test("unsafe stands only where it may", () => {
  const rust = ["crates", "bindings", "benches"].flatMap((folder) => files(folder, ".rs"))
  const wrong = rust.filter(
    (path) => /\bunsafe\b/.test(code(read(path)).replaceAll("unsafe_", "")) && !allowed.some((pattern) => pattern.test(path)),
  )
  expect(wrong).toEqual([])
})

test("the plan crate forbids unsafe code", () => {
  expect(read("crates/plan/src/lib.rs")).toContain("#![forbid(unsafe_code)]")
})

test("every crate takes the workspace's lints, which demand a SAFETY comment", () => {
  const manifest = read("Cargo.toml")
  expect(manifest).toContain('undocumented_unsafe_blocks = "deny"')
  expect(manifest).toContain('unsafe_op_in_unsafe_fn = "deny"')
  const crates = ["crates", "bindings", "benches"].flatMap((folder) => files(folder, "Cargo.toml"))
  expect(crates.filter((path) => !/\[lints\]\s+workspace = true/.test(read(path)))).toEqual([])
})
