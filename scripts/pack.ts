/** Stages and packs what a release publishes: the package, and this machine's platform package. Prints the two tarballs as JSON. */
import { spawnSync } from "node:child_process"
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { buildDeclarations, buildNative, buildTypeScript } from "./build.ts"
import { platformName, Refusal, root, script, work } from "./setup.ts"

const licenses = ["LICENSE", "LICENSE-MIT", "LICENSE-APACHE"]
const staging = join(work, "pack")

interface Manifest {
  version: string
  files: string[]
  [field: string]: unknown
}
function manifest(path: string): Manifest {
  return JSON.parse(readFileSync(join(root, path, "package.json"), "utf8"))
}

function stage(name: string, fields: object, files: readonly string[], from: string = root): string {
  const folder = join(staging, name)
  for (const file of files) cpSync(join(from, file), join(folder, file), { recursive: true })
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(fields, null, 2)}\n`)
  return folder
}

/** Platform packages are named here and not in the tracked manifest, where an unpublished one would make `npm ci` fail. */
function stageMain(): string {
  const { scripts, devDependencies, allowScripts, ...fields } = manifest(".")
  const platforms = readdirSync(join(root, "npm")).map((name) => [`@statespace/${name}`, fields.version])
  return stage("statespace", { ...fields, optionalDependencies: Object.fromEntries(platforms) }, [
    ...fields.files,
    ...licenses,
    "README.md",
  ])
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

await script(() => {
  rmSync(staging, { recursive: true, force: true })
  mkdirSync(staging, { recursive: true })
  buildDeclarations()
  buildTypeScript()
  const tarballs = { main: pack(stageMain()), platform: pack(stagePlatform()) }
  process.stdout.write(`${JSON.stringify(tarballs)}\n`)
})
