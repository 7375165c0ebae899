/** A snapshot made by the first release: it loads for ever, and goes on as it did then. */
import { expect, test } from "vitest"
import { StateError } from "../../ts/errors.ts"
import { decodeSafetensors } from "../../ts/io/safetensors.ts"
import { openFolder, readBytes } from "../support/files.ts"
import { digest, golden } from "../support/models.ts"
import { openTested } from "../support/open.ts"

const bytes = readBytes("test/golden/state/mamba-0.1.0.safetensors")
const expected = golden<{ tokens: number; logits: number[]; greedy: number[] }>("state/mamba-0.1.0.json")

test("the snapshot of release 0.1.0 goes on", async () => {
  const model = await openTested("mamba")
  const session = model.session(bytes)
  expect(session.tokens).toBe(expected.tokens)
  const logits = await session.fork().logits()
  for (const [i, value] of expected.logits.entries()) expect(Math.abs((logits[i] as number) - value)).toBeLessThanOrEqual(2e-4)
  const { tokens } = await session.generate({ maxNewTokens: expected.greedy.length, minNewTokens: expected.greedy.length }).result()
  expect(tokens).toEqual(expected.greedy)
  await model.dispose()
})

test("what is restored and saved at once is the same file, but for the writer", async () => {
  const model = await openTested("mamba")
  const [before, after] = [decodeSafetensors(bytes, "then"), decodeSafetensors(await model.session(bytes).save(), "now")]
  expect({ ...after.metadata, writer: "" }).toEqual({ ...before.metadata, writer: "" })
  expect([...after.tensors.keys()]).toEqual([...before.tensors.keys()])
  for (const [name, { data }] of before.tensors) expect(digest(after.tensors.get(name)!.data), name).toBe(digest(data))
  await model.dispose()
})

test("a tied checkpoint that also stores its head is the same model", async () => {
  const checkpoint = await openFolder("test/golden/families/mamba")
  const embedding = checkpoint.tensors.find(({ name }) => name === "backbone.embeddings.weight")!
  const tensors = [...checkpoint.tensors, { ...embedding, name: "lm_head.weight" }]
  const model = await openTested("mamba", { checkpoint: { ...checkpoint, tensors } })
  expect(model.session(bytes).tokens).toBe(expected.tokens)
  const plain = await openTested("mamba")
  expect(model.info().parameters).toBe(plain.info().parameters)
  await model.dispose()
  await plain.dispose()
})

test("another model refuses it, naming both", async () => {
  const model = await openTested("mamba-odd")
  expect(() => model.session(bytes)).toThrow(StateError)
  expect(() => model.session(bytes)).toThrow(decodeSafetensors(bytes, "then").metadata.model as string)
  await model.dispose()
})
