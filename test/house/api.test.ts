/** The public surface, as the declarations that users get. After a wanted change: `npx vitest run test/house -u`. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, posix } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { root } from "./tree.ts"

let out = ""
beforeAll(() => {
  out = mkdtempSync(join(tmpdir(), "statespace-types-"))
  const { status, stdout } = spawnSync(
    join(root, "node_modules/.bin/tsc"),
    ["-p", "tsconfig.json", "--emitDeclarationOnly", "--outDir", out],
    {
      cwd: root,
      encoding: "utf8",
    },
  )
  expect(stdout).toBe("")
  expect(status).toBe(0)
})
afterAll(() => rmSync(out, { recursive: true, force: true }))

/** Declarations of an entry and of the modules that it passes on. */
function surface(entry: string): string {
  const seen = new Set<string>()
  const texts: string[] = []
  const visit = (path: string): void => {
    if (seen.has(path)) return
    seen.add(path)
    const text = readFileSync(join(out, path), "utf8")
    texts.push(`// ${path}\n${text}`)
    for (const [, from] of text.matchAll(/^export .* from "(\.[^"]+)\.[jt]s"/gm))
      visit(`${posix.join(posix.dirname(path), from as string)}.d.ts`)
  }
  visit(entry)
  return texts.join("\n")
}

for (const entry of ["index", "ops", "slim", "tiny", "backend/interface"]) {
  test(`declarations of ${entry}`, async () => {
    await expect(surface(`${entry}.d.ts`)).toMatchFileSnapshot(`__snapshots__/${entry.replace("/", "-")}.d.ts.snap`)
  })
}

test("entries of browsers have the types of those of Node", () => {
  const declared = (entry: string): string[] => {
    const code = readFileSync(join(out, `${entry}.d.ts`), "utf8").replace(/\/\*\*[\s\S]*?\*\//g, "")
    return code.split("\n").filter((line) => line.startsWith("export"))
  }
  expect(declared("web")).toEqual(declared("index"))
  expect(declared("ops-web")).toEqual(declared("ops"))
})

test("entries name the library that AsyncDisposable comes from", () => {
  for (const entry of ["index", "web", "slim", "ops", "ops-web"]) {
    expect(readFileSync(join(out, `${entry}.d.ts`), "utf8")).toMatch(/^\/\/\/ <reference lib="esnext\.disposable" preserve="true" \/>/)
  }
})
