/** The command line with the embedded model. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { beforeEach, describe, expect, onTestFinished, test } from "vitest"
import { info } from "../../ts/index.ts"
import { cli, interrupted } from "../support/cli.ts"

const path = (name: string): string => fileURLToPath(new URL(`../golden/rustbook-mamba1/${name}`, import.meta.url))
const goldens = JSON.parse(readFileSync(path("golden.json"), "utf8")) as {
  prompt: string
  ids: number[]
  greedy_ids: number[]
  greedy_text: string
}[]
const golden = goldens[0] as (typeof goldens)[0]

/** One JSON value a line. */
function records(stdout: string): Record<string, unknown>[] {
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))
}

beforeEach((context) => {
  const missing = info().backends.find(({ name }) => name === "native")?.reason
  if (missing) context.skip(missing)
})

describe("generate", () => {
  test("prints the prompt and what continues it", () => {
    const { code, stdout, stderr } = cli(["generate", golden.prompt, "--max-new-tokens", "48"])
    expect(stderr).toBe("")
    expect(stdout).toBe(`${golden.greedy_text}\n`)
    expect(code).toBe(0)
  })

  test("--json prints one line a token, then the result", () => {
    const lines = records(cli(["generate", golden.prompt, "--max-new-tokens", "48", "--json"]).stdout)
    const result = lines.pop() as Record<string, unknown>
    const tokens = golden.greedy_ids.slice(golden.ids.length)
    expect(lines.map(({ token }) => token)).toEqual(tokens)
    expect(lines.map(({ index }) => index)).toEqual(tokens.map((_, i) => i))
    expect(lines.map(({ text }) => text).join("")).toBe(result.text)
    expect(result).toMatchObject({
      tokens,
      finishReason: "length",
      usage: { promptTokens: golden.ids.length, completionTokens: tokens.length },
    })
  })

  test("- reads the prompt from standard input", () => {
    const { stdout } = cli(["generate", "-", "--max-new-tokens", "4"], { input: golden.prompt })
    expect(stdout.startsWith(golden.prompt)).toBe(true)
    expect(golden.greedy_text.startsWith(stdout.trimEnd())).toBe(true)
  })

  test("a prompt may begin with a dash after --", () => {
    expect(cli(["generate", "--max-new-tokens", "2", "--", "--flag"]).stdout).toMatch(/^--flag/)
  })

  test("--stop takes any text, a newline too, and may be repeated", () => {
    const words = ["generate", golden.prompt, "--max-new-tokens", "48", "--json", "--stop", "never", "--stop", "\n"]
    const result = records(cli(words).stdout).at(-1)
    expect(result?.finishReason).toBe("stop")
    expect(golden.greedy_text).toBe(
      `${golden.prompt}${result?.text}${golden.greedy_text.slice(golden.prompt.length + String(result?.text).length)}`,
    )
    expect(result?.text).not.toContain("\n")
  })

  test("a seed gives the same text again, and another seed another", () => {
    const words = (seed: string): string[] => ["generate", golden.prompt, "--max-new-tokens", "24", "--temperature", "1", "--seed", seed]
    const first = cli(words("18446744073709551615")).stdout
    expect(cli(words("18446744073709551615")).stdout).toBe(first)
    expect(cli(words("8")).stdout).not.toBe(first)
  })

  test("an option out of range is wrong usage", () => {
    const { code, stdout, stderr } = cli(["generate", "x", "--top-p", "1.5"])
    expect(stderr).toMatch(/topP.*1\.5/)
    expect([code, stdout]).toEqual([2, ""])
  })

  test("a closed pipe ends quietly", async () => {
    const outcome = await interrupted(["generate", golden.prompt, "--max-new-tokens", "100000", "--min-new-tokens", "100000"], (child) =>
      child.stdout?.destroy(),
    )
    expect(outcome.stderr).toBe("")
    expect(outcome.code).toBe(0)
  })

  test("Ctrl-C ends with 130", async () => {
    const outcome = await interrupted(["generate", golden.prompt, "--max-new-tokens", "100000", "--min-new-tokens", "100000"], (child) =>
      child.kill("SIGINT"),
    )
    expect(outcome.stderr).toBe("")
    expect(outcome.code).toBe(130)
    expect(outcome.stdout.endsWith("\n")).toBe(true)
  })

  test("color is for terminals, and NO_COLOR turns it off", (context) => {
    if (process.platform !== "linux" || spawnSync("script", ["--version"]).status !== 0)
      context.skip("script (util-linux), which makes a terminal, is not here")
    const line = `${process.execPath} --import tsx ts/cli/main.ts generate x --max-new-tokens 2`
    const terminal = (env: NodeJS.ProcessEnv): string =>
      spawnSync("script", ["-qec", line, "/dev/null"], { encoding: "utf8", input: "", env: { ...process.env, ...env } }).stdout
    const { NO_COLOR: _, ...colored } = process.env
    expect(terminal({ ...colored, NO_COLOR: "" })).toContain("\x1b[2mx")
    expect(terminal({ NO_COLOR: "1" })).not.toContain("\x1b[2m")
    expect(cli(["generate", "x", "--max-new-tokens", "2"]).stdout).not.toContain("\x1b")
  })
})

test("score agrees with the recorded log-probabilities", () => {
  const recorded = JSON.parse(readFileSync(path("validation-mamba1.json"), "utf8"))
  const lines = records(cli(["score", path("validation.txt"), "--json"]).stdout)
  const whole = lines.pop() as Record<string, number>
  expect(whole.tokens).toBe(recorded.tokens)
  expect(Math.abs((whole.natsPerToken as number) - recorded.mean_nll)).toBeLessThan(1e-4)
  expect(lines.slice(0, recorded.first_ids.length).map(({ token }) => token)).toEqual(recorded.first_ids)
  expect(lines[0]?.logprob).toBeNull()
  expect(Math.abs((lines[1]?.logprob as number) + recorded.nll_first_64[0])).toBeLessThan(1e-4)
  expect(cli(["score", path("validation.txt")]).stdout).toContain(`perplexity    ${Math.exp(recorded.mean_nll).toFixed(2)}`)
})

test("embed gives one vector", () => {
  const vector = (...words: string[]): number[] =>
    records(cli(["embed", "-", "--json", ...words], { input: golden.prompt }).stdout)[0]?.embedding as number[]
  const mean = vector()
  expect(mean).toHaveLength(192)
  expect(vector("--pooling", "last")).not.toEqual(mean)
  const plain = cli(["embed", "-"], { input: golden.prompt }).stdout
  expect(plain.trim().split(" ").map(Number)).toEqual(mean)
})

test("info and devices say what runs", () => {
  const [about] = records(cli(["info", "--json"]).stdout)
  expect(about).toMatchObject({ family: "mamba", parameters: 2_800_320, backend: "native" })
  expect(cli(["info"]).stdout).toMatch(/parameters +2,800,320/)
  const backends = records(cli(["devices", "--json"]).stdout)
  expect(backends.find(({ auto }) => auto)).toMatchObject({ name: "native", available: true })
  expect(cli(["devices"]).stdout).toMatch(/^cuda +\S/m)
})

describe("bench", () => {
  const quick = ["--prompt", "20", "--tokens", "3", "--runs", "2"]

  test("--json has every run of a batch", () => {
    const [line, ...more] = records(cli(["bench", ...quick, "--batch", "2", "--backend", "native", "--json"]).stdout)
    expect(more).toEqual([])
    expect(line).toMatchObject({ backend: "native", batch: 2, parameters: 2_800_320 })
    for (const speeds of [line?.prefill, line?.decode]) {
      expect(speeds).toHaveLength(2)
      expect((speeds as number[]).every((speed) => speed > 0)).toBe(true)
    }
  })

  test("draws a bar for each backend", () => {
    const { code, stdout } = cli(["bench", ...quick, "--all"])
    expect(code).toBe(0)
    expect(stdout).toMatch(/prompt, 20 tokens, tokens a second\n {2}native +█+ [\d,]+ +\(\d+ GFLOP\/s\)/)
    expect(stdout).toMatch(/generation, 3 tokens, tokens a second\n {2}native +█+ [\d,]+ +\([\d.]+ GB\/s of weights\)/)
  })

  test("--random writes a checkpoint, the same each time, and uses again what --keep left", () => {
    const folder = join(mkdtempSync(join(tmpdir(), "statespace-random-")), "made")
    onTestFinished(() => rmSync(dirname(folder), { recursive: true }))
    const words = ["bench", "--random", "mamba-130m", "--keep", folder, "--prompt", "2", "--tokens", "1", "--runs", "1", "--json"]
    expect(records(cli(words).stdout)[0]).toMatchObject({ parameters: 129_135_360 })
    const weights = join(folder, "model.safetensors")
    const { mtimeMs } = statSync(weights)
    expect(cli(words).code).toBe(0)
    expect(statSync(weights).mtimeMs).toBe(mtimeMs)
    expect(readdirSync(folder).sort()).toEqual(["config.json", "generation_config.json", "model.safetensors"])
  })
})
