/** Where the native module is looked for. Stand-ins are CommonJS files that export what a module would. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { afterAll, afterEach, expect, test, vi } from "vitest"
import { loadNative } from "../../ts/backend/native.ts"
import { BackendUnavailableError, PlanError } from "../../ts/errors.ts"
import { opset } from "../../ts/plan/lower.ts"

const folder = mkdtempSync(join(tmpdir(), "statespace-loader-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
afterEach(() => vi.unstubAllEnvs())

function standIn(name: string, version: string, table: string = opset): string {
  const path = join(folder, name)
  writeFileSync(path, `exports.info = () => ${JSON.stringify(JSON.stringify({ version, opset: table, isas: [], cores: 1 }))}`)
  return path
}
function refusal<T extends Error>(type: new (...args: never[]) => T, path?: string): T {
  try {
    loadNative(path)
  } catch (error) {
    expect(error).toBeInstanceOf(type)
    return error as T
  }
  return expect.unreachable("it was loaded")
}

test("the path given, else the environment's", () => {
  const [one, two] = [standIn("one.cjs", "one"), standIn("two.cjs", "two")]
  expect(loadNative(one).info().version).toBe("one")
  expect(loadNative(relative(process.cwd(), one)).info().version).toBe("one")
  vi.stubEnv("STATESPACE_NATIVE", two)
  expect(loadNative().info().version).toBe("two")
  expect(loadNative(one).info().version).toBe("one")
})

test("a path that leads nowhere, or to something else, is not passed over", () => {
  const other = join(folder, "other.node")
  writeFileSync(other, "not a module")
  const empty = join(folder, "empty.cjs")
  writeFileSync(empty, "")
  vi.stubEnv("STATESPACE_NATIVE", standIn("good.cjs", "good"))
  for (const path of [join(folder, "nothing.node"), other, empty]) {
    const error = refusal(BackendUnavailableError, path)
    expect(error).toMatchObject({ code: "BACKEND_UNAVAILABLE", backend: "native", fix: expect.stringContaining("STATESPACE_NATIVE") })
    expect(error.message).toContain(path)
    expect((error.cause as AggregateError).errors).toHaveLength(1)
  }
})

test("a module of another op table is refused with both hashes", () => {
  const error = refusal(PlanError, standIn("stale.cjs", "old", "0123456789abcdef"))
  expect(error).toMatchObject({ code: "PLAN_OPSET", issues: [{ code: "opset", path: "opset" }] })
  expect(error.message).toContain("0123456789abcdef")
  expect(error.message).toContain(opset)
})

test("without a path: the platform's package, then the repository's build, each attempt told", () => {
  vi.stubEnv("STATESPACE_NATIVE", "")
  vi.spyOn(process, "platform", "get").mockReturnValue("linux")
  vi.spyOn(process, "arch", "get").mockReturnValue("riscv64")
  const error = refusal(BackendUnavailableError)
  expect(error.message).toMatch(/linux-riscv64: npm\/linux-riscv64-gnu\/statespace\.node \(Cannot find module .*npm\/linux-riscv64-musl/)
  vi.spyOn(process, "platform", "get").mockReturnValue("darwin")
  vi.spyOn(process, "arch", "get").mockReturnValue("arm64")
  const { message, cause } = refusal(BackendUnavailableError)
  expect(message).toMatch(/darwin-arm64: @statespace\/darwin-arm64 \(Cannot find module .*npm\/darwin-arm64\/statespace\.node/)
  expect((cause as AggregateError).errors).toHaveLength(2)
  vi.restoreAllMocks()
})
