/** What users get: the packed packages in an empty project, without Rust, without scripts. */
import { cpSync, existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { bin, install, pack, root, succeed as succeedIn, type Tarballs, user } from "./project.ts"

const example = /```js\n([\s\S]*?)```/.exec(readFileSync(join(root, "README.md"), "utf8"))?.[1] as string

let tarballs: Tarballs
let project: string

const succeed = (command: string, args: string[], cwd: string = project): string => succeedIn(command, args, cwd)

function write(name: string, text: string): void {
  writeFileSync(join(project, name), text)
}

beforeAll(() => {
  tarballs = pack()
  project = install("node-esm", tarballs)
}, 900_000)
afterAll(() => rmSync(project, { recursive: true, force: true }))

test("README's lines run in JavaScript", () => {
  expect(example.trim().split("\n").filter(Boolean)).toHaveLength(6)
  write("six.js", example)
  expect(succeed(process.execPath, ["six.js"]).length).toBeGreaterThan(20)
})

test("README's lines compile and run in TypeScript, with neither @types/node nor skipLibCheck", () => {
  write("six.ts", example)
  const options = { target: "es2022", module: "nodenext", strict: true, types: [], skipLibCheck: false, outDir: "out" }
  write("tsconfig.json", JSON.stringify({ compilerOptions: options, files: ["six.ts"] }))
  succeed(bin("tsc"), ["-p", "."])
  expect(succeed(process.execPath, ["out/six.js"]).length).toBeGreaterThan(20)
})

test("`await using` of a model compiles for Node 20", () => {
  write(
    "using.ts",
    'import { load } from "statespace"\nawait using model = await load()\nawait using session = model.session()\nconsole.log(session.tokens)\n',
  )
  const options = {
    target: "es2022",
    lib: ["es2022", "dom"],
    module: "nodenext",
    strict: true,
    types: [],
    skipLibCheck: false,
    outDir: "out",
  }
  write("tsconfig.json", JSON.stringify({ compilerOptions: options, files: ["using.ts"] }))
  succeed(bin("tsc"), ["-p", "."])
  expect(succeed(process.execPath, ["out/using.js"])).toBe("0\n")
})

test("the examples run", () => {
  cpSync(join(root, "examples"), join(project, "examples"), { recursive: true })
  expect(succeed(process.execPath, ["examples/generate.js"])).toMatch(/^The compiler will[\s\S]*\n\[length\] A lifetime is/)
  const long = succeed(process.execPath, ["examples/long-context.js", join(root, "README.md")])
  expect(long).toMatch(/^\d{4} tokens are a state of 0\.\d\d MB\n1: ".*\n2: ".*\n3: ".*\nrestored: "/)
  const scan = succeed(process.execPath, ["examples/selective-scan.js"])
  // Between two large Δ the state stays as it was.
  expect(scan.match(/remembered +-0\.757/g)).toHaveLength(4)
})

test("selectiveScan comes from statespace/ops", () => {
  const lines = [
    'import { selectiveScan } from "statespace/ops"',
    "const a = (data, ...shape) => ({ data: Float32Array.from(data), shape })",
    "const [delta, B, C] = [a([1, 1], 2, 1), a([1, 1], 2, 1), a([1, 1], 2, 1)]",
    'const { out } = await selectiveScan({ u: a([1, 2], 2, 1), delta, A: a([-1], 1, 1), B, C, layout: "bld" })',
    "console.log(JSON.stringify([...out.data]))",
  ]
  write("scan.js", lines.join("\n"))
  const [first, second] = JSON.parse(succeed(process.execPath, ["scan.js"]))
  expect(first).toBeCloseTo(1, 6)
  expect(second).toBeCloseTo(2 + Math.exp(-1), 6)
})

test("the command line works from there", () => {
  const out = succeed(join(project, "node_modules", ".bin", "statespace"), ["generate", "The compiler will", "--max-new-tokens", "4"])
  expect(out).toMatch(/^The compiler will.+\n$/s)
})

/** Runs a module in a copy of the project that lacks some of its packages. */
function without(packages: readonly string[], lines: readonly string[]): { stdout: string; stderr: string } {
  const other = mkdtempSync(join(tmpdir(), "statespace-bare-"))
  try {
    cpSync(join(project, "node_modules"), join(other, "node_modules"), { recursive: true })
    for (const name of packages) rmSync(join(other, "node_modules", name), { recursive: true })
    writeFileSync(join(other, "bare.mjs"), lines.join("\n"))
    const { status, stdout, stderr } = user(process.execPath, ["bare.mjs"], other)
    expect(status, stderr).toBe(0)
    return { stdout, stderr }
  } finally {
    rmSync(other, { recursive: true, force: true })
  }
}
const wasm = "statespace/wasm"
const noWasm = (): boolean => !existsSync(join(project, "node_modules", wasm))

test("without the platform package wasm takes over, warns once and says why", ({ skip }) => {
  if (noWasm()) skip("packed without WebAssembly")
  const lines = [
    'import { info, load } from "statespace"',
    "for (let i = 0; i < 2; i++) {",
    "  const model = await load()",
    '  const { text } = await model.complete("The compiler will", { maxNewTokens: 4 })',
    "  console.log(JSON.stringify({ text, native: info().backends.find(({ name }) => name === 'native') }))",
    "  await model.dispose()",
    "}",
  ]
  const { stdout, stderr } = without(["@statespace"], lines)
  for (const line of stdout.trim().split("\n")) {
    expect(JSON.parse(line)).toMatchObject({ text: expect.stringMatching(/\w/), native: { available: false } })
    expect(JSON.parse(line).native.reason).toContain("@statespace/")
  }
  expect(stderr.match(/STATESPACE_FALLBACK/g)).toHaveLength(1)
})

test("without both load() says what is missing and what to do", () => {
  const lines = ['import { load } from "statespace"', "await load().catch((e) => console.log(e.name, e.code, e.message))"]
  const { stdout } = without(["@statespace", ...(noWasm() ? [] : [wasm])], lines)
  expect(stdout).toMatch(/^BackendUnavailableError \w+ .*@statespace\/\w+/)
})

test("a server that takes the browser's entries touches nothing of a page", () => {
  const lines = ["web", "slim", "tiny", "ops-web", "browser"].map((name) => `await import("./node_modules/statespace/dist/${name}.js")`)
  const { stdout } = without([], [...lines, 'console.log(typeof window, typeof document, typeof Worker, "fine")'])
  expect(stdout).toBe("undefined undefined undefined fine\n")
})

test("the hub's functions came along", () => {
  const lines = [
    'import { load } from "statespace"',
    'Object.assign(process.env, { HF_HOME: "hub", HF_ENDPOINT: "http://127.0.0.1:9" })',
    'for (const localFilesOnly of [true, false]) await load("a/b", { localFilesOnly }).catch((e) => console.log(e.name, e.code))',
  ]
  write("hub.js", lines.join("\n"))
  expect(succeed(process.execPath, ["hub.js"])).toMatch(/^HubError HUB_OFFLINE\nHubError \w+\n$/)
})

test("no package in the tree has an install script", () => {
  const manifests = readdirSync(join(project, "node_modules"), { recursive: true, encoding: "utf8" }).filter((path) =>
    path.endsWith("package.json"),
  )
  const scripted = manifests.filter((path) => {
    const { scripts = {} } = JSON.parse(readFileSync(join(project, "node_modules", path), "utf8"))
    return ["preinstall", "install", "postinstall"].some((name) => name in scripts)
  })
  expect(manifests).toHaveLength(4)
  expect(scripted).toEqual([])
})

test("everything on disk stays under 15 MB", () => {
  const sizes = new Map<string, number>()
  for (const path of readdirSync(join(project, "node_modules"), { recursive: true, encoding: "utf8" })) {
    const stat = lstatSync(join(project, "node_modules", path))
    const name = path
      .split("/")
      .slice(0, path.startsWith("@") ? 2 : 1)
      .join("/")
    if (stat.isFile()) sizes.set(name, (sizes.get(name) ?? 0) + 512 * stat.blocks)
  }
  const total = [...sizes.values()].reduce((a, b) => a + b, 0)
  expect(total, JSON.stringify([...sizes])).toBeLessThan(15e6)
})

test("publint finds nothing", () => {
  const staged = join(dirname(tarballs.main), "statespace")
  expect(succeed(bin("publint"), ["--strict", "--pack", "false", staged], root)).toContain("All good")
})

test("arethetypeswrong finds nothing", () => {
  // The modules are bytes, which no import of TypeScript's resolves.
  const bytes = ["--exclude-entrypoints", ...["", "-threads", "-relaxed", "-relaxed-threads"].map((build) => `engine${build}.wasm`)]
  const plain = ["--profile", "esm-only", "--no-color", "--no-emoji"]
  expect(succeed(bin("attw"), [tarballs.main, ...plain, ...bytes], root)).toMatch(/"statespace" +│ OK \(ESM\) +│ OK/)
})
