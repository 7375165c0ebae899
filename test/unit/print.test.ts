/** Plans as people see them. After a wanted change: `npx vitest run test/unit/print.test.ts -u`. */
import { describe, expect, test } from "vitest"
import { printPlan, short } from "../../ts/plan/print.ts"
import type { ProgramSpec } from "../../ts/run/programs.ts"
import { buildScanPlans } from "../../ts/run/scan-programs.ts"
import { planOf, specs } from "../support/plans.ts"

test.each(["step", "chunk-look"])("%s", async (kind) => {
  await expect(`${printPlan(planOf("tiny", specs[kind] as ProgramSpec))}\n`).toMatchFileSnapshot(`../golden/plans/${kind}.txt`)
})

test("a plan without temp memory or weights", () => {
  const { leave } = buildScanPlans({ b: 1, l: 5, e: 6, n: 4, groups: 1, softplus: false, layout: "bld", dtypes: {} })
  const text = printPlan(leave)
  expect(text).toContain("1 nodes move")
  expect(text).toContain("temp 0B (at least 0B)")
})

describe("the table", () => {
  const plan = planOf("130m", { kind: "chunk", b: 1, l: 512, logits: true })
  const lines = printPlan(plan).split("\n")

  test("has one line a node, in plain text", () => {
    const numbered = lines.filter((line) => /^ *\d+ {2}\w/.test(line)).map((line) => Number(line.trim().split(" ")[0]))
    expect(numbered).toEqual([...plan.nodes.keys()])
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is the point
    expect(lines.join("")).not.toMatch(/[\u0000-\u001f\u007f]/)
  })

  test("fills the bar at the peak and nowhere beyond", () => {
    const bars = lines.flatMap((line) => /[#.]{16}/.exec(line) ?? [])
    expect(bars).toHaveLength(plan.nodes.length)
    expect(bars).toContain("#".repeat(16))
  })
})

test.each([
  [0, "0"],
  [999, "999"],
  [1000, "1.0k"],
  [99_949, "99.9k"],
  [99_951, "100k"],
  [999_499, "999k"],
  [999_500, "1.0M"],
  [2.5e9, "2.5G"],
  [3e15, "3000T"],
])("%d is %s", (value, text) => {
  expect(short(value)).toBe(text)
})
