/**
 * `npm run pack [FOLDER]`: stages and packs what a release publishes, the package and this machine's platform package, into an emptied folder.
 * Prints the two tarballs as JSON.
 */
import { spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { build as bundle } from "esbuild"
import { buildDeclarations, buildNative, buildTypeScript } from "./build.ts"
import { buildWasm, shipped, wasmMissing } from "./build-wasm.ts"
import { platformName, Refusal, root, script, work } from "./setup.ts"

const licenses = ["LICENSE", "LICENSE-MIT", "LICENSE-APACHE"]
const staging = resolve(process.argv[2] ?? join(work, "pack"))

interface Manifest {
  version: string
  files: string[]
  dependencies: Record<string, string>
  [field: string]: unknown
}
function manifest(path: string): Manifest {
  return JSON.parse(readFileSync(join(root, path, "package.json"), "utf8"))
}

function stage(name: string, fields: object, files: readonly string[], from: string = root): string {
  const folder = join(staging, name)
  for (const file of files.filter((file) => existsSync(join(from, file)))) cpSync(join(from, file), join(folder, file), { recursive: true })
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(fields, null, 2)}\n`)
  return folder
}

/**
 * Puts the few functions of the hub's package that are used into the release, under their license, instead of depending on all of it: with
 * its own dependencies it would be more than half of what lies on a user's disk.
 */
async function bundleHub(folder: string): Promise<void> {
  const module = join(folder, "dist", "io", "hub-api.js")
  const license = readFileSync(join(root, "node_modules", "@huggingface", "hub", "LICENSE"), "utf8")
  await bundle({
    entryPoints: [module],
    outfile: module,
    allowOverwrite: true,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    nodePaths: [join(root, "node_modules")],
    banner: { js: `/*! From @huggingface/hub:\n${license}*/` },
    logLevel: "warning",
  })
}

/** Keeps the declarations that the entries lead to: no compiler asks for the others, and each takes a block of a user's disk. */
function dropDeclarations(folder: string, exports: object): void {
  const wanted = new Set(
    JSON.stringify(exports)
      .match(/[\w/-]+\.d\.ts/g)
      ?.map((path) => join(folder, path)),
  )
  for (const path of wanted) {
    const places = readFileSync(path, "utf8").matchAll(/(?:from |import\(|import )"(\.[^"]+)\.[jt]s"/g)
    for (const [, place] of places) wanted.add(join(path, "..", `${place}.d.ts`))
  }
  for (const path of readdirSync(folder, { recursive: true, encoding: "utf8" }).map((path) => join(folder, path))) {
    if (path.endsWith(".d.ts") && !wanted.has(path)) rmSync(path)
  }
}

/** Platform packages are named here and not in the tracked manifest, where an unpublished one would make `npm ci` fail. */
async function stageMain(): Promise<string> {
  const { scripts, devDependencies, allowScripts, dependencies, ...fields } = manifest(".")
  const { "@huggingface/hub": _bundled, ...remaining } = dependencies
  const platforms = readdirSync(join(root, "npm")).map((name) => [`@statespace/${name}`, fields.version])
  const staged = { ...fields, dependencies: remaining, optionalDependencies: Object.fromEntries(platforms) }
  const folder = stage("statespace", staged, [...fields.files, ...licenses, "README.md"])
  await bundleHub(folder)
  dropDeclarations(folder, fields.exports as object)
  return folder
}

function stagePlatform(): string {
  const name = platformName()
  const folder = stage(name, manifest(join("npm", name)), licenses)
  buildNative("dist", join(folder, "statespace.node"))
  return folder
}

function pack(folder: string): string {
  const { status, stdout } = spawnSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", staging], {
    cwd: folder,
    encoding: "utf8",
    stdio: ["ignore", "pipe", 2],
  })
  if (status !== 0) throw new Refusal(`npm pack failed in ${folder}.`)
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }]
  return join(staging, filename)
}

await script(async () => {
  rmSync(staging, { recursive: true, force: true })
  mkdirSync(staging, { recursive: true })
  buildDeclarations()
  const missing = wasmMissing()
  if (missing) process.stderr.write(`Packed without WebAssembly, so not for a release. ${missing}\n`)
  else buildWasm(shipped)
  buildTypeScript()
  const tarballs = { main: pack(await stageMain()), platform: pack(stagePlatform()) }
  process.stdout.write(`${JSON.stringify(tarballs)}\n`)
})
