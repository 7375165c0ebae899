import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { CheckpointError } from "../../ts/errors.ts"
import { decodeSafetensors, encodeSafetensors, readTable, type TensorData } from "../../ts/io/safetensors.ts"

const utf8 = new TextEncoder()

/** A file from a header text and a number of tensor bytes. */
function file(header: string | Uint8Array, bytes = 0, length?: bigint): Uint8Array {
  const text = typeof header === "string" ? utf8.encode(header) : header
  const out = new Uint8Array(8 + text.length + bytes)
  new DataView(out.buffer).setBigUint64(0, length ?? BigInt(text.length), true)
  out.set(text, 8)
  return out
}

/** As from a server that does or does not say how long the file is. */
function source(bytes: Uint8Array, told = true): Parameters<typeof readTable>[0] {
  return { name: "x.safetensors", bytes: told ? bytes.length : undefined, head: async (length) => bytes.slice(0, length) }
}

const entry = (dtype: string, shape: unknown, begin: unknown, end: unknown): string =>
  JSON.stringify({ dtype, shape, data_offsets: [begin, end] })

async function refusal(bytes: Uint8Array): Promise<CheckpointError> {
  const error = await readTable(source(bytes)).catch((caught: unknown) => caught)
  expect(error).toBeInstanceOf(CheckpointError)
  expect((error as CheckpointError).message).toContain("x.safetensors")
  expect((error as CheckpointError).fix).not.toBe("")
  expect(() => decodeSafetensors(bytes, "x.safetensors")).toThrow((error as CheckpointError).message)
  return error as CheckpointError
}

describe("safetensors tables", () => {
  it("gives absolute offsets, in order of the bytes, whatever the order in the header", async () => {
    const entries = [
      `"b":${entry("F32", [2, 1], 3, 11)}`,
      '"__metadata__":{"format":"pt"}',
      `"a":${entry("U8", [3], 0, 3)}`,
      `"none":${entry("F32", [0, 5], 3, 3)}`,
    ]
    const header = `{${entries.join(",")}}   `
    const table = await readTable(source(file(header, 11)))
    const base = 8 + header.length
    expect(table.metadata).toEqual({ format: "pt" })
    expect(table.bytes).toBe(base + 11)
    expect(await readTable(source(file(header, 11), false))).toEqual(table)
    expect(table.tensors).toEqual([
      { name: "a", dtype: "U8", shape: [3], offset: base, bytes: 3 },
      { name: "none", dtype: "F32", shape: [0, 5], offset: base + 3, bytes: 0 },
      { name: "b", dtype: "F32", shape: [2, 1], offset: base + 3, bytes: 8 },
    ])
  })

  it("accepts scalars, known dtypes that no engine reads, sub-byte ones, and names of any text", async () => {
    const entries = [
      `"s":${entry("F64", [], 0, 8)}`,
      `"__proto__":${entry("F8_E4M3", [3], 8, 11)}`,
      `"q":${entry("F4", [4], 11, 13)}`,
      `"\\u0000é":${entry("BOOL", [1], 13, 14)}`,
    ]
    const header = `{${entries.join(",")}}`
    const { tensors } = await readTable(source(file(header, 14)))
    expect(tensors.map(({ name, bytes }) => [name, bytes])).toEqual([
      ["s", 8],
      ["__proto__", 3],
      ["q", 2],
      ["\0é", 1],
    ])
  })

  it.each([
    ["an empty file", new Uint8Array(), "CHECKPOINT_TRUNCATED", /0 bytes/],
    ["seven bytes", new Uint8Array(7), "CHECKPOINT_TRUNCATED", /7 bytes/],
    ["a header longer than the file", file("{}", 0, 3n), "CHECKPOINT_TRUNCATED", /header needs 3 bytes/],
    ["a header longer than the format allows", file("{}", 0, 100_000_001n), "CHECKPOINT_HEADER", /100000001/],
    ["a header length of 2^64 - 1", file("{}", 0, 2n ** 64n - 1n), "CHECKPOINT_HEADER", /not a safetensors file/],
    ["an empty header", file(""), "CHECKPOINT_HEADER", /start with/],
    ["a header that starts with a space", file(" {}"), "CHECKPOINT_HEADER", /start with/],
    ["broken JSON", file('{"a":'), "CHECKPOINT_HEADER", /not valid JSON/],
    ["text after the object", file("{} x"), "CHECKPOINT_HEADER", /not valid JSON/],
    ["invalid UTF-8", file(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)), "CHECKPOINT_HEADER", /not valid JSON/],
    ["a name twice", file(`{"a":${entry("U8", [1], 0, 1)},"\\u0061":${entry("U8", [1], 0, 1)}}`, 1), "CHECKPOINT_HEADER", /"a" twice/],
    ["a field twice", file('{"a":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}}', 1), "CHECKPOINT_HEADER", /"shape" twice/],
    ["metadata that is not text", file('{"__metadata__":{"n":1}}'), "CHECKPOINT_HEADER", /__metadata__/],
    ["a tensor that is a number", file('{"a":1}'), "CHECKPOINT_HEADER", /tensor "a"/],
    ["a tensor without dtype", file('{"a":{"shape":[1],"data_offsets":[0,1]}}', 1), "CHECKPOINT_DTYPE", /tensor "a".*undefined/],
    ["an unknown dtype", file(`{"a":${entry("F31", [1], 0, 4)}}`, 4), "CHECKPOINT_DTYPE", /"F31"/],
    ["a dtype of the object prototype", file(`{"a":${entry("toString", [1], 0, 4)}}`, 4), "CHECKPOINT_DTYPE", /"toString"/],
    ["a negative extent", file(`{"a":${entry("U8", [-1], 0, 1)}}`, 1), "CHECKPOINT_HEADER", /invalid shape/],
    ["a fractional extent", file(`{"a":${entry("U8", [1.5], 0, 1)}}`, 1), "CHECKPOINT_HEADER", /invalid shape/],
    ["a shape that is a number", file(`{"a":${entry("U8", 1, 0, 1)}}`, 1), "CHECKPOINT_HEADER", /invalid shape/],
    ["three offsets", file('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}', 1), "CHECKPOINT_OFFSETS", /data_offsets/],
    ["a negative offset", file(`{"a":${entry("U8", [1], -1, 0)}}`, 1), "CHECKPOINT_OFFSETS", /data_offsets/],
    ["an offset that is text", file(`{"a":${entry("U8", [1], "0", 1)}}`, 1), "CHECKPOINT_OFFSETS", /data_offsets/],
    ["ends before it begins", file(`{"a":${entry("U8", [1], 1, 0)}}`, 1), "CHECKPOINT_OFFSETS", /data_offsets \[1, 0\]/],
    ["a size that is not that of the shape", file(`{"a":${entry("F32", [2], 0, 4)}}`, 4), "CHECKPOINT_OFFSETS", /8 bytes.*hold 4/],
    [
      "a size beyond what can be addressed",
      file(`{"a":${entry("F32", [2 ** 31, 2 ** 31], 0, 4)}}`, 4),
      "CHECKPOINT_OFFSETS",
      /no whole number/,
    ],
    ["an overflow behind a zero", file(`{"a":${entry("F32", [0, 2 ** 50, 2 ** 50], 0, 0)}}`), "CHECKPOINT_OFFSETS", /no whole number/],
    ["half a byte", file(`{"a":${entry("F4", [3], 0, 1)}}`, 1), "CHECKPOINT_OFFSETS", /no whole number/],
    ["a tensor beyond the end", file(`{"a":${entry("U8", [9], 0, 9)}}`, 8), "CHECKPOINT_TRUNCATED", /tensor "a" ends at byte/],
    ["a hole", file(`{"a":${entry("U8", [1], 0, 1)},"b":${entry("U8", [1], 2, 3)}}`, 3), "CHECKPOINT_OFFSETS", /"b" leaves 1 bytes unused/],
    ["an overlap", file(`{"a":${entry("U8", [2], 0, 2)},"b":${entry("U8", [2], 1, 3)}}`, 3), "CHECKPOINT_OFFSETS", /"b" overlaps/],
    ["the same bytes twice", file(`{"a":${entry("U8", [2], 0, 2)},"b":${entry("U8", [2], 0, 2)}}`, 2), "CHECKPOINT_OFFSETS", /overlaps/],
    ["bytes that belong to none", file(`{"a":${entry("U8", [1], 0, 1)}}`, 3), "CHECKPOINT_OFFSETS", /2 bytes after the last tensor/],
  ])("refuses %s", async (_what, bytes, code, reason) => {
    const error = await refusal(bytes)
    expect(error.code).toBe(code)
    expect(error.message).toMatch(reason)
  })

  it("passes on what the source reports while reading", async () => {
    const broken = {
      name: "x",
      bytes: 100,
      head: () => Promise.reject(new CheckpointError("CHECKPOINT_READ", "gone.", { fix: "f" })),
    }
    await expect(readTable(broken)).rejects.toMatchObject({ code: "CHECKPOINT_READ" })
  })
})

/** Either a table whose ranges lie in the file and tile it, or CheckpointError. */
async function neverWorse(bytes: Uint8Array): Promise<void> {
  try {
    const { tensors } = await readTable(source(bytes))
    let at = 8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true))
    for (const tensor of tensors) {
      expect(tensor.offset).toBe(at)
      at += tensor.bytes
    }
    expect(at).toBe(bytes.length)
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error
  }
}

describe("safetensors from anywhere", () => {
  const dtype = fc.constantFrom("f32", "bf16", "f16", "i32", "u32", "u8") as fc.Arbitrary<TensorData["dtype"]>
  const size = { f32: 4, i32: 4, u32: 4, bf16: 2, f16: 2, u8: 1 }
  const tensor = fc.tuple(dtype, fc.array(fc.nat(4), { maxLength: 3 }), fc.nat(255)).map(([type, shape, fill]): TensorData => {
    const count = shape.reduce((product, extent) => product * extent, 1)
    return { dtype: type, shape, data: new Uint8Array(count * size[type]).fill(fill) }
  })
  const names = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("__proto__", "constructor", "1", "layers.0.conv"))
  const tensors = fc
    .array(
      fc.tuple(
        names.filter((name) => name !== "__metadata__"),
        tensor,
      ),
      { maxLength: 6 },
    )
    .map((list) => new Map(list))
  const metadata = fc.dictionary(fc.string(), fc.string(), { maxKeys: 3, noNullPrototype: true })

  it("reads back what was written, aligned and in equal bytes each time", () => {
    fc.assert(
      fc.property(tensors, metadata, (written, meta) => {
        const bytes = encodeSafetensors(written, meta)
        const read = decodeSafetensors(bytes, "x")
        expect(read.metadata).toEqual(meta)
        expect(new Map([...read.tensors].sort())).toEqual(new Map([...written].sort()))
        for (const { dtype: type, data } of read.tensors.values()) expect((data.byteOffset - bytes.byteOffset) % size[type]).toBe(0)
        const reversed = new Map([...written].reverse())
        expect(encodeSafetensors(reversed, Object.fromEntries(Object.entries(meta).reverse()))).toEqual(bytes)
      }),
    )
  })

  it("survives random bytes", async () => {
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), neverWorse), { numRuns: 500 })
  })

  it("survives any JSON as a header", async () => {
    const header = fc.oneof(
      fc.json(),
      fc.dictionary(fc.string(), fc.jsonValue()).map((value) => JSON.stringify(value)),
    )
    await fc.assert(
      fc.asyncProperty(header, fc.nat(32), (text, bytes) => neverWorse(file(text, bytes))),
      { numRuns: 500 },
    )
  })

  it("survives changed, cut and lengthened files", async () => {
    const change = fc.record({ at: fc.nat(), to: fc.nat(255), cut: fc.option(fc.nat(), { freq: 4 }), add: fc.nat(3) })
    await fc.assert(
      fc.asyncProperty(tensors, metadata, fc.array(change, { minLength: 1, maxLength: 4 }), async (written, meta, changes) => {
        let bytes = encodeSafetensors(written, meta)
        for (const { at, to, cut, add } of changes) {
          // Most changes in the header, where they matter.
          const header = Math.min(bytes.length, 8 + Number(new DataView(encodeSafetensors(written, meta).buffer).getBigUint64(0, true)))
          bytes[at % Math.max(1, header)] = to
          if (cut !== null) bytes = bytes.slice(0, cut % (bytes.length + 1))
          bytes = Uint8Array.of(...bytes, ...new Array<number>(add).fill(0))
        }
        await neverWorse(bytes)
      }),
      { numRuns: 1000 },
    )
  })

  it("survives headers whose numbers and dtypes are strange", async () => {
    const number = fc.oneof(fc.nat(40), fc.constantFrom(-1, -0, 0.5, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 53 - 1, 1e308))
    const described = fc.record({
      dtype: fc.constantFrom("F32", "BF16", "U8", "F4", "F64", "", "f32"),
      shape: fc.array(number, { maxLength: 3 }),
      data_offsets: fc.array(number, { minLength: 1, maxLength: 3 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.string(), described, { maxKeys: 4 }), fc.nat(64), (header, bytes) =>
        neverWorse(file(JSON.stringify(header), bytes)),
      ),
      { numRuns: 1000 },
    )
  })

  it("is not led into deep recursion or long searches", async () => {
    await neverWorse(file("[".repeat(2_000_000)))
    await neverWorse(file(`{"a":${"[".repeat(1_000_000)}${"]".repeat(1_000_000)}}`))
    await neverWorse(file(`{"${"\\\\".repeat(2_000_000)}":1}`))
    const many = Array.from({ length: 100_000 }, (_, i) => `"t${i}":${entry("U8", [1], i, i + 1)}`)
    const { tensors: all } = await readTable(source(file(`{${many.reverse().join(",")}}`, 100_000)))
    expect(all).toHaveLength(100_000)
  })
})
