/** Makes of shared test files something that a page can run, and of their results tests of this run. */
import { existsSync, readFileSync } from "node:fs"
import { SourceMap } from "node:module"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { build, type Plugin } from "esbuild"
import { afterAll, describe, expect, test } from "vitest"
import { work } from "../../scripts/setup.ts"
import { type Browser, openPage } from "./chromium.ts"
import type { PageResult, PageTest } from "./page/run.ts"
import { serve } from "./server.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const out = join(work, "suites")

/**
 * `vitest` becomes its page twin, `x.ts` becomes `x.page.ts` where there is one, and what lies in `ts/` is taken from `dist/`, unbundled:
 * modules and Workers are those that users get.
 */
const resolution: Plugin = {
  name: "page",
  setup: ({ onResolve }) => {
    onResolve({ filter: /^vitest$/ }, () => ({ path: join(root, "test/browser/page/vitest.ts") }))
    onResolve({ filter: /^\.{1,2}\/.*\.ts$/ }, ({ path, resolveDir }) => {
      const file = join(resolveDir, path)
      const inside = relative(join(root, "ts"), file)
      if (!inside.startsWith("..")) return { path: `/dist/${inside.replace(/\.ts$/, ".js")}`, external: true }
      const twin = file.replace(/\.ts$/, ".page.ts")
      return existsSync(twin) ? { path: twin } : null
    })
  },
}

/** Bundles the test files, one chunk each, loaded when asked for. */
export async function bundleSuites(files: readonly string[]): Promise<void> {
  const imports = files.map((file) => `  ${JSON.stringify(file)}: () => import(${JSON.stringify(`./${file}`)}),`)
  await build({
    stdin: {
      contents: `import { expose } from "./test/browser/page/run.ts"\nexpose({\n${imports.join("\n")}\n})\n`,
      resolveDir: root,
      sourcefile: "suites.ts",
    },
    outdir: out,
    entryNames: "main",
    bundle: true,
    splitting: true,
    format: "esm",
    target: "es2022",
    sourcemap: true,
    plugins: [resolution],
    logLevel: "warning",
  })
}

/** Bare names that the unbundled modules import, for the page. */
const imports = { "@huggingface/tokenizers": "/node_modules/@huggingface/tokenizers/dist/tokenizers.mjs" }
const page = `<!doctype html><meta charset="utf-8"><title>suites</title>
<script type="importmap">${JSON.stringify({ imports })}</script><script type="module" src="/suites/main.js"></script>`

/** A stack of the page with the lines of the sources. */
function mapped(stack: string): string {
  return stack.replace(/https?:\/\/[^/\s]+\/suites\/([\w.-]+\.js):(\d+):(\d+)/g, (place, file: string, line: string, column: string) => {
    const map = join(out, `${file}.map`)
    if (!existsSync(map)) return place
    const entry = new SourceMap(JSON.parse(readFileSync(map, "utf8"))).findEntry(Number(line) - 1, Number(column) - 1)
    if (!("originalSource" in entry)) return place
    return `${relative(root, join(dirname(map), entry.originalSource))}:${entry.originalLine + 1}:${entry.originalColumn + 1}`
  })
}

function asError({ errors }: Pick<PageResult, "errors">): Error {
  const [first] = errors
  const error = new Error(errors.map(({ name, message, diff }) => `${name}: ${message}${diff ? `\n${diff}` : ""}`).join("\n"))
  error.stack = `${error.message}\n${mapped(first?.stack ?? "").replace(/^(?!\s+at ).*\n?/gm, "")}`
  return error
}

export interface PageKind {
  isolated?: boolean
  /** With the module for engines that lack relaxed instructions, which this one does not. */
  plain?: boolean
}

/**
 * Declares the tests of `file` as they are in a page, which starts running them with the first that is asked for.
 */
export async function describeInPage(browser: Browser, file: string, { isolated = false, plain = false }: PageKind): Promise<void> {
  const server = await serve({ isolated, folders: { "/": root, "/suites/": out } })
  server.files.set("/suites.html", page)
  const results = new Map<string, (result: PageResult) => void>()
  const { page: tab, errors, complaints } = await openPage(browser, "about:blank")
  await tab.exposeFunction("report", (result: PageResult) => results.get(result.id)?.(result))
  await tab.goto(`${server.origin}/suites.html${plain ? "?plain" : ""}`)
  await tab.waitForFunction("globalThis.collect", undefined, { timeout: 20_000 })
  const found = await tab.evaluate<{ tests: PageTest[]; errors: PageResult["errors"] }>(`collect(${JSON.stringify(file)})`)

  let running: Promise<PageResult["errors"]> | undefined
  const waiting = new Map(found.tests.map(({ id }) => [id, new Promise<PageResult>((resolve) => results.set(id, resolve))]))
  describe(`${file}, ${isolated ? "isolated" : "not isolated"}${plain ? ", plain" : ""}`, () => {
    test("is collected without an error", async () => {
      // Which file of an import was missing or broken only the console says.
      const more = complaints.map((message) => ({ name: "Console", message, stack: "" }))
      if (found.errors.length > 0) throw asError({ errors: [...found.errors, ...more] })
      expect(await tab.evaluate("crossOriginIsolated")).toBe(isolated)
    })
    for (const { id, path, timeout } of found.tests) {
      test(path.join(" > "), { timeout: timeout + 240_000 }, async ({ skip }) => {
        running ??= tab.evaluate<PageResult["errors"]>("run()")
        // When the page is done or dead, a result that has not come never will.
        const none: PageResult = { id, state: "fail", errors: [{ name: "Error", message: "The page gave no result.", stack: "" }] }
        const end = running.then(
          () => none,
          (error: Error) => ({ ...none, errors: [{ name: "Error", message: `The page is gone: ${error.message}`, stack: "" }] }),
        )
        const result = await Promise.race([waiting.get(id) as Promise<PageResult>, end])
        if (result.state === "skip") skip(result.note ?? "skipped in the page")
        if (result.state === "fail") throw asError(result)
      })
    }
    test("nothing is thrown outside the tests", async () => {
      const late = await running?.catch(() => [])
      if (late?.length) throw asError({ errors: late })
      expect(errors).toEqual([])
    })
    afterAll(async () => {
      await tab.close()
      await server.close()
    })
  })
}
