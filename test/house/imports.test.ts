/** One-way flow. A room may use the rooms named here and nothing else. */
import { posix } from "node:path"
import { describe, expect, test } from "vitest"
import { files, folders, read } from "./tree.ts"

/** "types of X" allows `import type` only. `types` is the plan's vocabulary, `ts/plan/types.ts`. */
const rooms: Record<string, string[]> = {
  errors: [],
  types: [],
  options: ["errors"],
  graph: ["errors", "types"],
  ops: ["errors", "types", "graph"],
  models: ["errors", "types", "graph", "ops"],
  plan: ["errors", "types", "graph", "ops"],
  backend: ["errors", "options", "types", "plan"],
  io: ["errors", "options", "types", "types of backend", "types of models"],
  run: ["errors", "options", "types", "graph", "ops", "plan", "backend", "io", "types of models", "types of platform"],
  platform: ["errors", "backend", "io"],
  public: ["errors", "run", "io", "types of models"],
  index: ["public", "platform", "run", "models", "types of io"],
  web: ["public", "platform", "run", "models", "backend", "types of io"],
  slim: ["public", "platform", "run", "models", "types of backend", "types of io"],
  tiny: ["types of io"],
  "ops.ts": ["platform", "run"],
  "ops-web": ["platform", "run", "backend"],
  worker: ["errors", "backend", "io", "types"],
  cli: ["errors", "options", "types", "index", "run", "plan", "models", "backend", "io"],
}

/** The room of a path below `ts/`. */
function room(path: string): string {
  if (path === "plan/types.ts") return "types"
  if (path === "ops.ts") return "ops.ts"
  return path.includes("/") ? (path.split("/")[0] as string) : path.replace(/\.ts$/, "")
}

describe("TypeScript rooms", () => {
  const paths = files("ts", ".ts").map((path) => path.slice(3))
  for (const name of new Set(paths.map(room))) {
    test(`${name} imports only what is below it`, () => {
      const allowed = rooms[name]
      expect(allowed, `ts/${name} has no row in this table`).toBeDefined()
      const wrong: string[] = []
      for (const path of paths.filter((path) => room(path) === name)) {
        for (const [, type, , from] of read(`ts/${path}`).matchAll(/(?:^|\n)(?:import|export)( type)? ([^"'()]* from )?"(\.[^"]+)"/g)) {
          const target = room(posix.join(posix.dirname(path), from as string))
          if (target === name || allowed?.includes(target) || (type && allowed?.includes(`types of ${target}`))) continue
          wrong.push(`ts/${path} imports ${from}`)
        }
      }
      expect(wrong).toEqual([])
    })
  }
})

describe("crates", () => {
  const crates: Record<string, string[]> = {
    "crates/simd": [],
    "crates/plan": [],
    "crates/ops": ["plan", "simd"],
    "crates/engine": ["ops", "plan", "simd"],
    "bindings/node": ["engine"],
    "bindings/wasm": ["engine"],
  }
  const found = [...folders("crates").map((name) => `crates/${name}`), ...folders("bindings").map((name) => `bindings/${name}`)]
  for (const path of found) {
    test(`${path} depends only on what is below it`, () => {
      const manifest = read(`${path}/Cargo.toml`).split("[dev-dependencies]")[0] as string
      const used = [...manifest.matchAll(/^statespace-(\w+) *=/gm)].map(([, name]) => name)
      expect(crates[path], `${path} has no row in this table`).toBeDefined()
      expect(used.filter((name) => !crates[path]?.includes(name as string))).toEqual([])
    })
  }

  test("the engine, the plan and the bindings know no model", () => {
    const below = ["crates/plan", "crates/simd", "crates/engine", "bindings"].flatMap((folder) => files(folder, ".rs"))
    expect(below.filter((path) => /mamba|jamba|bamba|falcon/i.test(read(path)))).toEqual([])
  })
})
