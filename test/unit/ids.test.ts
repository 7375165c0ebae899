/** Long text on its way to ids: the same as encoding it whole, wherever it is encoded, while the event loop goes on. */
import { describe, expect, test } from "vitest"
import { Tokenizer } from "../../ts/io/tokenizer.ts"
import { IdReader } from "../../ts/run/ids.ts"
import { readText } from "../support/files.ts"

const json = JSON.parse(readText("models/rustbook-mamba1-2.8m/tokenizer.json"))
const tokenizer = new Tokenizer(json)
const text = readText("test/golden/rustbook-mamba1/validation.txt").repeat(6)
const whole = tokenizer.encode(text)

/** The same tokenizer behind a line that takes its time, and what was sent along it. */
function elsewhere(): { sent: string[]; encoder: () => Promise<{ encode(text: string): Promise<Int32Array> }> } {
  const sent: string[] = []
  const encode = async (part: string): Promise<Int32Array> => {
    sent.push(part)
    await new Promise((resolve) => setImmediate(resolve))
    return Int32Array.from(tokenizer.encode(part))
  }
  return { sent, encoder: async () => ({ encode }) }
}
async function all(stream: AsyncIterable<Int32Array>): Promise<number[]> {
  const ids: number[] = []
  for await (const part of stream) ids.push(...part)
  return ids
}
/** Turns of the event loop until the work is done. */
async function turns(work: Promise<unknown>): Promise<number> {
  let [count, done] = [0, false]
  void work.finally(() => {
    done = true
  })
  while (!done) {
    await new Promise((resolve) => setImmediate(resolve))
    count++
  }
  return count
}

describe("long text", () => {
  test("in slices here: the ids of the whole, and a turn between slices", async () => {
    const reader = new IdReader(4096, () => tokenizer)
    expect(await all(reader.stream(text))).toEqual(whole)
    expect([...(await reader.read(text))]).toEqual(whole)
    expect(await turns(reader.read(text))).toBeGreaterThanOrEqual(Math.floor(text.length / 20_000))
  })

  test("in another thread: the ids of the whole, and nothing of it is encoded here", async () => {
    const { sent, encoder } = elsewhere()
    const here = {
      ...tokenizer,
      cut: tokenizer.cut.bind(tokenizer),
      encode: () => expect.unreachable(),
      encodeSlices: () => expect.unreachable(),
    }
    const reader = new IdReader(4096, () => here, encoder)
    expect([...(await reader.read(text))]).toEqual(whole)
    expect(sent.join("")).toBe(text)
    expect(sent.length).toBeGreaterThan(5)
    const parts = [text.slice(0, 40_000), text.slice(40_000)]
    expect(await all(reader.stream(parts))).toEqual(whole)
  })

  test("an abort ends it between slices", async () => {
    const { sent, encoder } = elsewhere()
    const reader = new IdReader(4096, () => tokenizer, encoder)
    const abort = new AbortController()
    const reading = reader.read(text, abort.signal)
    setImmediate(() => abort.abort("enough"))
    await expect(reading).rejects.toBe("enough")
    expect(sent.length).toBeLessThan(5)
  })
})

test("short text goes where the words are, and only text does", async () => {
  const { sent, encoder } = elsewhere()
  const here = { ...tokenizer, cut: tokenizer.cut.bind(tokenizer), encode: () => [], encodeSlices: () => expect.unreachable() }
  const reader = new IdReader(4096, () => here, encoder, true)
  expect([...(await reader.read("The compiler will"))]).toEqual(tokenizer.encode("The compiler will"))
  expect(await all(reader.stream(["The compiler", " will"]))).toEqual(tokenizer.encode("The compiler will"))
  expect([...(await reader.read("")), ...(await reader.read([5, 6]))]).toEqual([5, 6])
  expect(sent).toEqual(["The compiler will", "The compiler will"])
  expect([reader.waits("a"), reader.waits(""), reader.waits([1])]).toEqual([true, false, false])
})

test("short text stays here", async () => {
  const { sent, encoder } = elsewhere()
  const reader = new IdReader(4096, () => tokenizer, encoder)
  expect([...(await reader.read("The compiler will"))]).toEqual(tokenizer.encode("The compiler will"))
  expect(await all(reader.stream("The compiler will"))).toEqual(tokenizer.encode("The compiler will"))
  expect(sent).toEqual([])
})
