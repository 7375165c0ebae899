import { cpSync } from "node:fs"
import { build } from "esbuild"

await build({ entryPoints: ["main.js"], outdir: "dist/assets", bundle: true, format: "esm", minify: true })
// esbuild leaves `new URL("…", import.meta.url)` as it is, so what the page loads by address is put where main.js says.
const parts = "node_modules/statespace"
cpSync(`${parts}/dist/worker.js`, "dist/assets/statespace-worker.js")
cpSync(`${parts}/wasm/engine.wasm`, "dist/assets/engine.wasm")
cpSync(`${parts}/models`, "dist/models", { recursive: true })
