/** The checkpoints of `test/golden` against transformers' results (f32, eager). Greedy ids are equal; numbers within 2e-4. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import type { EngineOptions } from "../../ts/backend/interface.ts"
import type { Tensor } from "../../ts/graph/tensor.ts"
import type { Family, LanguageModel } from "../../ts/models/family.ts"
import { mamba } from "../../ts/models/index.ts"
import type { Model } from "../../ts/run/model.ts"
import { isNative } from "../support/backend.ts"
import { readText } from "../support/files.ts"
import { golden } from "../support/models.ts"
import { openTested } from "../support/open.ts"

const close = 2e-4
const furthest = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a, (x, i) => Math.abs(x - (b[i] as number))).reduce((m, d) => Math.max(m, d), 0)
const row = ({ data, shape }: { data: Float32Array; shape: number[] }, at: number): Float32Array => {
  const width = shape[1] as number
  return data.subarray(at * width, (at + 1) * width)
}

/** Mamba whose last hidden state is what goes into the final norm. */
const unnormed: Family = {
  ...mamba,
  parse: (config) => {
    const model = mamba.parse(config)
    const before = ({ origin }: Tensor): Tensor => (origin.kind === "node" && origin.node.op === "rmsnorm" && origin.node.in[0]) as Tensor
    const forward: LanguageModel["forward"] = (context) =>
      model.forward({ ...context, hidden: (i, x) => context.hidden(i, i === model.numHiddenLayers ? before(x) : x) })
    return { ...model, forward }
  },
}

interface Prompt {
  prompt: string
  ids: number[]
  last_logits: number[]
  top_ids: number[][]
  top_logits: number[][]
  nll: number[]
  hidden_first8_last_position: number[][]
  greedy_ids: number[]
  greedy_text: string
}

describe("rustbook-mamba1-2.8m", () => {
  const prompts = golden<Prompt[]>("rustbook-mamba1/golden.json")
  let model: Model
  let bare: Model
  beforeAll(async () => {
    model = await openTested("rustbook")
    bare = await openTested("rustbook", { families: [unnormed] })
  })
  afterAll(() => Promise.all([model.dispose(), bare.dispose()]))

  describe.each(prompts)("$prompt", (expected) => {
    test("ids", () => {
      expect(model.tokenizer.encode(expected.prompt)).toEqual(expected.ids)
    })
    test("logits, hidden states and the likeliest tokens of every position", async () => {
      const { logits, hiddenStates } = await model.forward(expected.ids, { hiddenStates: true })
      expect(logits.shape).toEqual([expected.ids.length, 4096])
      expect(furthest(row(logits, expected.ids.length - 1), expected.last_logits)).toBeLessThanOrEqual(close)
      for (const [at, ids] of expected.top_ids.entries()) {
        const values = ids.map((id) => row(logits, at)[id] as number)
        expect(furthest(values, expected.top_logits[at] as number[])).toBeLessThanOrEqual(close)
        expect(row(logits, at).indexOf(Math.max(...row(logits, at)))).toBe(ids[0])
      }
      // transformers' Mamba lists the output of every layer and then the normed last one; ours starts with the embedding and lists the last
      // layer normed only, which is why its bare output comes from a family that leaves out the norm.
      const layers = model.config.numHiddenLayers
      expect(hiddenStates).toHaveLength(layers + 1)
      const last = (await bare.forward(expected.ids, { hiddenStates: true })).hiddenStates!.at(-1)!
      const listed = [...hiddenStates!.slice(1, layers), last, hiddenStates![layers]!]
      expect(listed).toHaveLength(expected.hidden_first8_last_position.length)
      for (const [i, values] of expected.hidden_first8_last_position.entries()) {
        const hidden = row(listed[i]!, expected.ids.length - 1)
        expect(furthest(hidden.subarray(0, 8), values), `row ${i}`).toBeLessThanOrEqual(close)
      }
    })
    test("the last position alone is that of all", async () => {
      const all = await model.forward(expected.ids)
      const last = await model.forward(expected.ids, { logitsToKeep: 1 })
      expect(furthest(last.logits.data, row(all.logits, expected.ids.length - 1))).toBeLessThanOrEqual(1e-5)
      expect(furthest(last.logits.data, expected.last_logits)).toBeLessThanOrEqual(close)
    })
    test("score", async () => {
      const { logprobs, tokens, nats } = await model.score(expected.prompt)
      expect([...tokens]).toEqual(expected.ids)
      expect(logprobs[0]).toBeNaN()
      expect(
        furthest(
          logprobs.subarray(1).map((x) => -x),
          expected.nll,
        ),
      ).toBeLessThanOrEqual(close)
      expect(nats).toBeCloseTo(
        expected.nll.reduce((a, b) => a + b, 0),
        2,
      )
    })
    test("48 greedy tokens and their text", async () => {
      const { tokens, text } = await model.complete(expected.prompt, { maxNewTokens: 48 })
      expect([...expected.ids, ...tokens]).toEqual(expected.greedy_ids)
      expect(`${expected.prompt.replace("<|endoftext|>", "")}${text}`).toBe(expected.greedy_text)
    })
  })

  test("all prompts as one ragged batch", async () => {
    const results = await model.complete(
      prompts.map(({ prompt }) => prompt),
      { maxNewTokens: 48 },
    )
    expect(results.map(({ tokens }, i) => [...prompts[i]!.ids, ...tokens])).toEqual(prompts.map(({ greedy_ids }) => greedy_ids))
  })

  test("score of validation.txt", async () => {
    const expected = golden<{
      tokens: number
      first_ids: number[]
      last_ids: number[]
      mean_nll: number
      nll_first_64: number[]
      nll_last_64: number[]
    }>("rustbook-mamba1/validation-mamba1.json")
    const text = readText("test/golden/rustbook-mamba1/validation.txt")
    const { logprobs, tokens, nats } = await model.score(text)
    expect(tokens).toHaveLength(expected.tokens)
    expect([...tokens.subarray(0, expected.first_ids.length)]).toEqual(expected.first_ids)
    expect([...tokens.subarray(-expected.last_ids.length)]).toEqual(expected.last_ids)
    expect(Math.abs(nats / (tokens.length - 1) - expected.mean_nll)).toBeLessThanOrEqual(1e-4)
    const nll = logprobs.subarray(1).map((x) => -x)
    expect(furthest(nll.subarray(0, 64), expected.nll_first_64)).toBeLessThanOrEqual(1e-4)
    expect(furthest(nll.subarray(-64), expected.nll_last_64)).toBeLessThanOrEqual(1e-4)
  })
})

const engines: [string, EngineOptions][] = [
  ["the fastest instructions", {}],
  ["scalar code", { isa: "scalar" }],
  ["the f64 reference", { executor: "reference" }],
]
const families = ["mamba", "mamba-odd"].flatMap((name) => engines.map(([how, engine]) => ({ name, how, engine })))

describe.each(families)("families/$name by $how", ({ name, how, engine }) => {
  const expected = golden<{ ids: number[][]; last_logits: number[][]; logits_sum: number[][]; argmax: number[][]; greedy: number[][] }>(
    `families/${name}/golden.json`,
  )
  let model: Model | undefined
  beforeAll(async () => {
    if (isNative || how === "the fastest instructions") model = await openTested(name, { engine })
  })
  beforeEach((context) => {
    if (model === undefined) context.skip("the WebAssembly module has vectors only, and no f64 executor; its own test build has one")
  })
  afterAll(() => model?.dispose())

  test.each(expected.ids.map((ids, i) => ({ ids, i })))("logits of sample $i", async ({ ids, i }) => {
    const { logits } = await model!.forward(ids)
    expect(furthest(row(logits, ids.length - 1), expected.last_logits[i] as number[])).toBeLessThanOrEqual(close)
    for (let at = 0; at < ids.length; at++) {
      const values = row(logits, at)
      expect(values.indexOf(Math.max(...values))).toBe(expected.argmax[i]?.[at])
      expect(Math.abs(values.reduce((a, b) => a + b, 0) - (expected.logits_sum[i]?.[at] as number))).toBeLessThanOrEqual(close * 10)
    }
  })
  test("24 greedy tokens", async () => {
    const [ids] = expected.greedy as [number[]]
    const { tokens } = await model!.complete(ids.slice(0, 9), { maxNewTokens: 24 })
    expect([...ids.slice(0, 9), ...tokens]).toEqual(ids)
  })
})
