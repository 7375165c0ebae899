/**
 * `npm run playground`: builds what is missing and serves `examples/playground` on this machine. `--no-isolation` leaves out the two headers
 * that shared memory, and so threads, need; `--port N` takes another port than 8020.
 */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { serve } from "../test/browser/server.ts"
import { buildDeclarations, buildTypeScript } from "./build.ts"
import { buildWasm, shipped, wasmMissing } from "./build-wasm.ts"
import { Refusal, root, script } from "./setup.ts"

/** What a page of the playground asks for, and nothing else of this folder. */
export const folders: Record<string, string> = Object.fromEntries(
  ["examples/playground", "dist", "wasm", "models"].map((folder) => [`/${folder}/`, join(root, folder)]),
)
export const playgroundPath = "/examples/playground/"

function build(): void {
  if (!existsSync(join(root, "wasm", "engine.wasm"))) {
    process.stderr.write("Building the WebAssembly module once; this takes a few minutes.\n")
    const missing = wasmMissing()
    if (missing) throw new Refusal(missing)
    buildWasm(shipped)
  }
  buildDeclarations()
  buildTypeScript()
}

function options(): { isolated: boolean; port: number } {
  try {
    const { values } = parseArgs({ options: { "no-isolation": { type: "boolean" }, port: { type: "string", default: "8020" } } })
    if (!/^\d{1,5}$/.test(values.port) || Number(values.port) > 65535) throw new Error(`There is no port ${values.port}.`)
    return { isolated: !values["no-isolation"], port: Number(values.port) }
  } catch (error) {
    throw new Refusal(error instanceof Error ? error.message : String(error))
  }
}

async function playground(): Promise<void> {
  const { isolated, port } = options()
  build()
  const { origin } = await serve({ folders, isolated, port }).catch((error: NodeJS.ErrnoException) => {
    throw error.code === "EADDRINUSE" ? new Refusal(`Port ${port} is taken; choose another one: npm run playground -- --port 8021.`) : error
  })
  process.stdout.write(`${origin}${playgroundPath}${isolated ? "" : "  (not isolated: one thread)"}\nCtrl+C ends it.\n`)
}

if (process.argv[1] === import.meta.filename) await script(playground)
