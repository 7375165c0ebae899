/** What a page loads: nothing of Node, and nothing that touches the page before it is asked to. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type BuildResult, build } from "esbuild"
import { describe, expect, test } from "vitest"
import { read, root } from "./tree.ts"

type Bundle = BuildResult<{ write: false; metafile: true }>

/** An entry as a bundler sees it; fails on an import of `node:*`, which no browser has. */
function bundle(entry: string): Promise<Bundle> {
  return build({
    ...{ entryPoints: [entry], absWorkingDir: root, outfile: "out.js", write: false, metafile: true, logLevel: "silent" },
    ...{ bundle: true, format: "esm", platform: "browser", target: "es2022", external: ["#wasm/*"] },
  }) as Promise<Bundle>
}
const modules = ({ metafile }: Bundle): string[] => Object.keys(metafile.inputs).filter((path) => path.startsWith("ts/"))

/** Code without comments, and without the one way that is open to code that runs in both: asking a process for its modules. */
const codeOf = (path: string): string => read(path).replace(/\/\*[\s\S]*?\*\/|\/\/.*|process\?\.getBuiltinModule\S*/g, "")

const entries = ["ts/web.ts", "ts/ops-web.ts", "ts/slim.ts", "ts/tiny.ts"]

describe.each([...entries, "ts/worker.ts"])("%s", (entry) => {
  test("loads nothing of Node, and uses none of its globals", async () => {
    const used = modules(await bundle(entry)).filter((path) => /\bBuffer\.|\bprocess\./.test(codeOf(path)))
    expect(used).toEqual([])
  })
})

describe.each(entries)("%s", (entry) => {
  test("can be imported where a server renders the page: no global of a browser is touched", async () => {
    const names = ["document", "window", "navigator", "location", "caches", "Worker", "indexedDB", "fetch", "WebAssembly", "crypto"]
    const traps = `const touched = []
      for (const name of ${JSON.stringify(names)}) Object.defineProperty(globalThis, name, { get: () => void touched.push(name) })`
    const { outputFiles } = await bundle(entry)
    const folder = mkdtempSync(join(tmpdir(), "statespace-entry-"))
    try {
      writeFileSync(join(folder, "entry.mjs"), outputFiles[0]?.text ?? "")
      writeFileSync(join(folder, "server.mjs"), `${traps}\nawait import("./entry.mjs")\nconsole.log(JSON.stringify(touched))`)
      const { stdout, stderr } = spawnSync(process.execPath, [join(folder, "server.mjs")], { encoding: "utf8" })
      expect(stderr).toBe("")
      expect(JSON.parse(stdout)).toEqual([])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

test("only the entry that asks for it carries the embedded model, and the slim one no file of the package at all", async () => {
  const addresses = async (entry: string): Promise<string[]> => {
    const paths = modules(await bundle(entry))
    return paths.filter((path) => /new URL\("/.test(codeOf(path)))
  }
  expect(await addresses("ts/slim.ts")).toEqual([])
  expect(await addresses("ts/web.ts")).toEqual(["ts/backend/wasm/assets.ts"])
  expect(await addresses("ts/tiny.ts")).toEqual([join("ts", "tiny.ts")])
})
