/** `npm run check`: format, lint, types, generated files, Rust's own checks and the house rules. All are run, then the failed ones are named. */
import { bin, locked, Refusal, run, rustMissing, script, tsx } from "./setup.ts"

const checks: [name: string, body: () => void][] = [
  ["generated declarations", () => tsx("scripts/gen-ops.ts", ["--check"])],
  ["generated list of errors", () => tsx("scripts/gen-errors.ts", ["--check"])],
  ["biome", () => run(bin("biome"), ["check", "--error-on-warnings"])],
  ["types", () => run(bin("tsc"), ["-p", "tsconfig.check.json"])],
  ["types of the playground", () => run(bin("tsc"), ["-p", "examples/playground"])],
  ["cargo fmt", () => run("cargo", ["fmt", "--all", "--check"])],
  ["clippy", () => run("cargo", ["clippy", ...locked, "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])],
  ["house", () => run(bin("vitest"), ["run", "test/house"])],
]

await script(() => {
  const missing = rustMissing()
  if (missing) throw new Refusal(missing)
  const failed: string[] = []
  for (const [name, body] of checks) {
    process.stderr.write(`== ${name}\n`)
    try {
      body()
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      process.stderr.write(`${error.message}\n`)
      failed.push(name)
    }
  }
  if (failed.length > 0) throw new Refusal(`Not in order: ${failed.join(", ")}.`)
})
