import { readdirSync, readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { errorCodes } from "../../scripts/error-codes.ts"
import * as errors from "../../ts/errors.ts"

const root = new URL("../../", import.meta.url)

/** Sources below a folder, by path. */
function sources(folder: string, ending: RegExp): [string, string][] {
  const below = readdirSync(new URL(`${folder}/`, root), { recursive: true, encoding: "utf8" })
  return below
    .filter((path) => ending.test(path))
    .map((path) => [`${folder}/${path}`, readFileSync(new URL(`${folder}/${path}`, root), "utf8")])
}

const typescript = sources("ts", /\.ts$/)
const rust = ["crates", "bindings"].flatMap((folder) => sources(folder, /^(?!.*(^|\/)(tests|target|benches)\/).*\.rs$/))
const families = new Set(Object.keys(errorCodes).map((code) => code.split("_")[0]))

describe("the list of error codes", () => {
  it("has a row of the right class for every error that is made", () => {
    const wrong: string[] = []
    for (const [path, text] of typescript) {
      for (const [, kind, code] of text.matchAll(/new (\w+Error)\(\s*"([A-Z][A-Z0-9_]+)"/g)) {
        if (errorCodes[code as string]?.class !== kind) wrong.push(`${path}: ${kind} ${code}`)
      }
    }
    expect(wrong).toEqual([])
  })

  it("has a row for every literal that looks like a code", () => {
    const unknown: string[] = []
    for (const [path, text] of [...typescript, ...rust]) {
      for (const [, code] of text.matchAll(/"([A-Z]+(?:_[A-Z0-9]+)+)"/g)) {
        if (families.has(code?.split("_")[0]) && !Object.hasOwn(errorCodes, code as string)) unknown.push(`${path}: ${code}`)
      }
    }
    expect(unknown).toEqual([])
  })

  it("has no row that nothing makes", () => {
    const all = [...typescript, ...rust].map(([, text]) => text).join("\n")
    expect(Object.keys(errorCodes).filter((code) => !all.includes(`"${code}"`))).toEqual([])
  })

  it("says what each means and what to do, in sentences that fit a table", () => {
    for (const { meaning, fix } of Object.values(errorCodes)) {
      for (const sentence of [meaning, fix]) {
        expect(sentence).toMatch(/^[A-Za-z].*\.$/)
        expect(sentence).not.toContain("|")
      }
    }
  })
})

describe("error classes", () => {
  it("say the way out in their message and keep their names", () => {
    const cause = new Error("inner")
    const error = new errors.CheckpointError("CHECKPOINT_READ", "x cannot be read.", { fix: "Check it.", cause })
    expect(error).toBeInstanceOf(errors.StatespaceError)
    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({
      name: "CheckpointError",
      code: "CHECKPOINT_READ",
      fix: "Check it.",
      message: "x cannot be read. Check it.",
      cause,
    })
    expect(Object.hasOwn(new errors.StateError("STATE_INVALID", "m.", { fix: "f" }), "cause")).toBe(false)
  })

  it("carry what their class promises", () => {
    expect(new errors.HubError("HUB_REFUSED", "m.", { fix: "f", status: 500, url: "u" })).toMatchObject({ status: 500, url: "u" })
    expect(new errors.PlanError("PLAN_INVALID", "m.", { fix: "f", issues: [{ code: "c", message: "m" }] }).issues).toHaveLength(1)
    expect(new errors.BackendUnavailableError("BACKEND_UNAVAILABLE", "m.", { fix: "f", backend: "cuda" }).backend).toBe("cuda")
    expect(new errors.MemoryLimitError("MEMORY_LIMIT", "m.", { fix: "f", needed: 2, limit: 1, largest: "w" })).toMatchObject({
      needed: 2,
      limit: 1,
      largest: "w",
    })
  })
})
