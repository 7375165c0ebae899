/** Wrong usage of the command line: exit code 2, one sentence on stderr, nothing on stdout. No engine is needed. */
import { describe, expect, test } from "vitest"
import { cli } from "../support/cli.ts"

describe("wrong usage ends with 2 and names the way out", () => {
  const cases: [words: string[], says: RegExp][] = [
    [["genrate", "x"], /^Unknown command genrate\. Did you mean generate\?/],
    [["frobnicate"], /^Unknown command frobnicate\. See statespace --help/],
    [["generate", "x", "--temprature", "1"], /^Unknown option --temprature\. Did you mean --temperature\?/],
    [["generate", "x", "--max_new_tokens", "1"], /Did you mean --max-new-tokens\?/],
    [["generate"], /^generate wants prompt/],
    [["generate", "two", "words"], /quote text that has spaces/],
    [["generate", "x", "--seed"], /^--seed wants a value/],
    [["generate", "x", "--seed", "--json"], /^--seed wants a value/],
    [["generate", "x", "--seed", "seven"], /^--seed wants a number, not "seven"/],
    [["generate", "x", "--seed", "1", "--seed", "2"], /^--seed is given 2 times/],
    [["generate", "x", "--compute", "f64"], /f64/],
    [["info", "a", "--model", "b"], /named twice/],
    [["bench", "--random", "mamba-7b"], /^--random knows mamba-130m, .*, not mamba-7b/],
    [["bench", "--random", "mamba-130m", "./folder"], /name one or the other/],
    [["bench", "--keep", "./folder"], /^--keep says where --random writes/],
    [["bench", "--runs", "0"], /^--runs wants a whole number from 1, not 0/],
    [["bench", "--all", "--backend", "wasm"], /exclude each other/],
    [["plan", "--length", "0"], /^--length wants a whole number from 1, not 0/],
    [["plan", "--compute", "int8"], /^--compute wants f32 or bf16, not int8/],
  ]
  for (const [words, says] of cases) {
    test(words.join(" "), () => {
      const { code, stdout, stderr } = cli(words)
      expect(stderr).toMatch(says)
      expect(stderr.trim().split("\n")).toHaveLength(1)
      expect(stdout).toBe("")
      expect(code).toBe(2)
    })
  }
})

test("help and version go to stdout", () => {
  const help = cli(["--help"])
  expect(help.code).toBe(0)
  for (const name of ["generate", "score", "embed", "plan", "info", "devices", "bench"]) expect(help.stdout).toContain(`  ${name}`)
  expect(cli([]).stdout).toBe(help.stdout)
  expect(cli(["generate", "--help"]).stdout).toContain("--repetition-penalty")
  expect(cli(["--version"]).stdout).toMatch(/^statespace\/\d+\.\d+\.\d+/)
})

test("what fails in the work ends with 1 and one sentence", () => {
  for (const words of [
    ["info", "./no-such-folder"],
    ["score", "no-such-file.txt"],
  ]) {
    const { code, stdout, stderr } = cli(words)
    expect(stderr).toContain("no-such")
    expect(stderr.trim().split("\n")).toHaveLength(1)
    expect([code, stdout]).toEqual([1, ""])
  }
})

test("plan prints the program of the embedded model, and as JSON the plan itself", () => {
  const text = cli(["plan", "--length", "64"])
  expect(text.stderr).toBe("")
  expect(text.stdout).toContain("conv1d_silu")
  const json = cli(["plan", "--length", "64", "--json"])
  const plan = JSON.parse(json.stdout)
  expect(plan.format).toBe(1)
  expect(plan.nodes.some((node: { op: string }) => node.op === "scan")).toBe(true)
  const step = JSON.parse(cli(["plan", "--length", "1", "--json"]).stdout)
  expect(step.nodes.at(-1).op).toBe("sample")
})
