/**
 * `npm run bench`: the kernels, a whole model, and the embedded model's daily costs. `npm run bench -- NAME…` runs those named; what follows
 * a single name goes to it, so `npm run bench -- model --rounds 1` or `npm run bench -- kernels scan`. `--peers` sets the opponents beside
 * ours; `npm run bench -- peers` installs them.
 */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { build } from "./build.ts"
import { locked, Refusal, root, run, rustMissing, script, tsx } from "./setup.ts"

const peers = join(root, "benches", "peers")
const inherit = { stdio: "inherit" } as const
const benches: Readonly<Record<string, (args: readonly string[]) => void>> = {
  kernels: (args) => run("cargo", ["bench", ...locked, "-p", "statespace-bench-kernels", "--bench", "ops", "--", ...args], inherit),
  model: (args) => run(process.execPath, [join("benches", "model", "run.mjs"), ...args], inherit),
  life: (args) => run(process.execPath, [join("benches", "model", "life.mjs"), ...args], inherit),
  abort: (args) => run(process.execPath, [join("benches", "wasm", "abort.mjs"), ...args], inherit),
  browser: (args) => tsx("benches/browser/run.ts", args),
  peers: () => run("npm", ["ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"], { ...inherit, cwd: peers }),
}
const usual = ["kernels", "model", "life"]
const withPeers = ["model", "browser"]

await script(() => {
  const given = process.argv.slice(2).filter((arg) => arg !== "--peers")
  const asked = given.length < process.argv.length - 2
  const end = given.findIndex((arg) => !(arg in benches))
  const [named, rest] = end === -1 ? [given, []] : [given.slice(0, end), given.slice(end)]
  if (rest.length > 0 && named.length !== 1) {
    throw new Refusal(`Name one bench before ${rest.join(" ")}: ${Object.keys(benches).join(", ")}.`)
  }
  const chosen = named.length > 0 ? named : usual
  if (asked && !chosen.includes("peers") && !existsSync(join(peers, "node_modules"))) {
    throw new Refusal("The peers are not installed; run this first: npm run bench -- peers")
  }
  const missing = rustMissing()
  if (missing) throw new Refusal(missing)
  if (chosen.some((name) => name !== "peers")) build()
  for (const name of chosen) benches[name]?.([...rest, ...(asked && withPeers.includes(name) ? ["--peers"] : [])])
})
