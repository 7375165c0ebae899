/** Weights that the native module takes from files. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, test } from "vitest"
import type { TensorSource, WeightsSource } from "../../ts/backend/interface.ts"
import { loadNative } from "../../ts/backend/native.ts"
import { isNative } from "../support/backend.ts"
import { bytes, floats, ints, lookUp, needsBackend } from "./seam-kit.ts"

needsBackend()

const folder = mkdtempSync(join(tmpdir(), "statespace-native-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const table: TensorSource = { name: "table", file: 0, offset: 3, bytes: 24, dtype: "f32", shape: [2, 3] }
// Three bytes that belong to nobody, so that nothing is aligned.
const content = Uint8Array.of(9, 9, 9, ...bytes(1, 2, 3, 4, 5, 6))

async function row(source: WeightsSource, id: number): Promise<number[]> {
  const engine = await loadNative().open()
  const weights = await engine.weights(source)
  const program = await engine.load(lookUp(2, 3), weights)
  await engine.write(program, "tokens", ints(id))
  await engine.run(program, null)
  const read = floats(await engine.read(program, "y"))
  await engine.dispose()
  return read
}

test("mapped or copied, whatever the name", async (context) => {
  if (!isNative) context.skip("WebAssembly reads no paths")
  const path = join(folder, "räksmörgås.bin")
  writeFileSync(path, content)
  const tensors = [table]
  expect(await row({ files: [path], tensors }, 1)).toEqual([4, 5, 6])
  expect(await row({ files: [path], tensors, mmap: true }, 0)).toEqual([1, 2, 3])
  expect(await row({ files: [path], tensors, mmap: false }, 1)).toEqual([4, 5, 6])
})

test("beside bytes", async (context) => {
  if (!isNative) context.skip("WebAssembly reads no paths")
  const path = join(folder, "other.bin")
  writeFileSync(path, "")
  expect(await row({ files: [path, content], tensors: [{ ...table, file: 1 }] }, 1)).toEqual([4, 5, 6])
})

test("a file that is not there", async (context) => {
  if (!isNative) context.skip("WebAssembly reads no paths")
  await expect(row({ files: ["nowhere"], tensors: [table] }, 0)).rejects.toMatchObject({
    name: "CheckpointError",
    code: "CHECKPOINT_READ",
    message: expect.stringMatching(/^File nowhere cannot be read: .*\.$/s),
  })
})
