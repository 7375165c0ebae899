/** What the files say: nothing of one machine, nothing unfinished, nothing that contradicts the manifests. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { files, folders, json, read, root, sources } from "./tree.ts"

interface Manifest {
  name: string
  version: string
  scripts: Record<string, string>
  dependencies: Record<string, string>
}
const manifest = json<Manifest>("package.json")
const prose = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  ...files("docs", ".md"),
  ...files("spec", ".md"),
  ...files("models", ".md"),
  ...files("benches", ".md"),
]
const written = [
  ...sources(),
  ...prose,
  "package.json",
  "Cargo.toml",
  "biome.json",
  ".ci/run",
  ...files("crates", ".toml"),
  ...files("bindings", ".toml"),
]

/** Lines that match, with their places. */
function find(paths: string[], pattern: RegExp): string[] {
  return paths.flatMap((path) =>
    read(path)
      .split("\n")
      .flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : [])),
  )
}

test("no file names one machine's paths or a registry's host", () => {
  expect(find(written, /(^|[\s"'`(=])\/(work|root|home|Users)\/|registry\.[a-z]+\.[a-z]+|static\.crates/)).toEqual([])
})

test("nothing is marked as unfinished", () => {
  const marks = new RegExp(["TO" + "DO", "FIX" + "ME", "unimplemented" + "!", "to" + "do!"].map((mark) => `\\b${mark}`).join("|"))
  expect(find(written, marks)).toEqual([])
})

test("no test is switched off or singled out without a reason given at run time", () => {
  expect(find(sources(), new RegExp(`#\\[ig${"nore"}|\\b(it|test|describe)\\.(skip|only|to${"do"})\\(`))).toEqual([])
})

test("code lines have at most 150 columns", () => {
  expect(
    find(
      sources().filter((path) => !path.includes("/golden/")),
      /^.{151,}$/,
    ),
  ).toEqual([])
})

test("every script that a text mentions exists, and every script is mentioned", () => {
  const texts = [read("README.md"), read("CONTRIBUTING.md")].join("\n")
  const mentioned = new Set([...texts.matchAll(/npm run ([\w:-]+)/g)].map(([, name]) => name as string))
  if (/npm test/.test(texts)) mentioned.add("test")
  const scripts = Object.keys(manifest.scripts).filter((name) => name !== "pretest")
  expect([...mentioned].sort()).toEqual(scripts.sort())
})

test("every script starts a file that is here", () => {
  const started = Object.values(manifest.scripts).flatMap((line) =>
    [...line.matchAll(/\b[\w/-]+\.m?ts\b|\b[\w/-]+\.mjs\b/g)].map(([file]) => file),
  )
  expect(started.filter((file) => !existsSync(join(root, file)))).toEqual([])
})

test("all manifests have one version", () => {
  const platforms = folders("npm").map((name) => json<Manifest>(`npm/${name}/package.json`).version)
  const cargo = /^version = "(.+)"/m.exec(read("Cargo.toml"))?.[1]
  // A page has no manifest to read.
  const written = /version = "(.+)"/.exec(read("ts/run/version.ts"))?.[1]
  expect(new Set([...platforms, cargo, written])).toEqual(new Set([manifest.version]))
})

test("the package depends on what product.md allows, and on nothing else", () => {
  expect(Object.keys(manifest.dependencies).sort()).toEqual(["@huggingface/hub", "@huggingface/tokenizers", "cac"])
})
