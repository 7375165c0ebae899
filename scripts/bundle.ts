/**
 * `tsx scripts/bundle.ts FOLDER`: finishes what tsc has put there. A Worker knows no import map and a script tag no package manager, so
 * `worker.js` and `browser.js` are each one file; everything else stays one module a source and loses its private names.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join, relative, resolve, sep } from "node:path"
import { type BuildOptions, build, type Plugin } from "esbuild"
import { Refusal, root, script } from "./setup.ts"

const folder = resolve(process.argv[2] ?? join(root, "dist"))
const glue = (name: string): string => join(root, "wasm", `${name}.js`)

/** Files beside the modules are named from where a module lies, and a bundle lies elsewhere. */
function rebase(text: string, file: string): string {
  return text.replace(/new URL\((["'])([\w./-]+)\1, import\.meta\.url\)/g, (_, __, path: string) => {
    const target = resolve(dirname(file), path)
    const inside = relative(folder, target)
    const from = inside.startsWith("..") ? relative(join(root, "dist"), resolve(root, relative(dirname(folder), target))) : inside
    return `new URL(${JSON.stringify((from.startsWith(".") ? from : `./${from}`).replaceAll(sep, "/"))}, import.meta.url)`
  })
}

const places: Plugin = {
  name: "places",
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^#wasm\// }, ({ path }) => {
      const file = glue(path.slice("#wasm/".length))
      // Without a toolchain for WebAssembly the package is built all the same; the backend then says what is missing.
      return existsSync(file) ? { path: file } : { path, external: true }
    })
    onLoad({ filter: /\.js$/ }, ({ path }) => (path.startsWith(folder) ? { contents: rebase(readFileSync(path, "utf8"), path) } : null))
  },
}

const license = "/*! With @huggingface/tokenizers, copyright The Hugging Face team, under the Apache License, Version 2.0. */"

function options(entry: string, output: string): BuildOptions {
  return {
    entryPoints: [join(folder, entry)],
    outfile: join(folder, output),
    allowOverwrite: true,
    bundle: true,
    platform: "browser",
    format: "esm",
    target: "es2022",
    minify: true,
    // Errors are told apart by the names of their classes.
    keepNames: true,
    banner: { js: license },
    plugins: [places],
    logLevel: "warning",
  }
}

/** The private names of `package.json` mean nothing in a page without a bundler, the paths behind them do. */
function unname(file: string): void {
  const text = readFileSync(file, "utf8")
  const path = relative(dirname(file), join(dirname(folder), "wasm")).replaceAll(sep, "/")
  const plain = text.replace(/(["'])#wasm\/([\w-]+)\1/g, (_, quote: string, name: string) => `${quote}${path}/${name}.js${quote}`)
  if (plain !== text) writeFileSync(file, plain)
}

await script(async () => {
  const missing = ["worker.js", "web.js"].find((name) => !existsSync(join(folder, name)))
  if (missing) throw new Refusal(`There is no ${missing} in ${folder}: compile the sources first.`)
  await build(options("web.js", "browser.js"))
  await build(options("worker.js", "worker.js"))
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (name.endsWith(".js")) unname(join(folder, name))
  }
})
