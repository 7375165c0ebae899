import { readFileSync } from "node:fs"
import { Tokenizer as Library } from "@huggingface/tokenizers"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { OptionError, TokenizerError } from "../../ts/errors.ts"
import { type DecodeOptions, Tokenizer } from "../../ts/io/tokenizer.ts"

const root = new URL("../../", import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, root), "utf8")
const embedded = JSON.parse(read("models/rustbook-mamba1-2.8m/tokenizer.json")) as Record<string, unknown>
const config = JSON.parse(read("models/rustbook-mamba1-2.8m/tokenizer_config.json")) as Record<string, unknown>
const tokenizer = new Tokenizer(embedded, config)
const validation = read("test/golden/rustbook-mamba1/validation.txt")

/** The embedded vocabulary with what GPT-NeoX adds to it: NFC, runs of spaces as added tokens, a template that adds nothing. */
const neox = {
  ...embedded,
  normalizer: { type: "NFC" },
  post_processor: { type: "TemplateProcessing", single: [{ Sequence: { id: "A", type_id: 0 } }], pair: [], special_tokens: {} },
  added_tokens: [
    ...(embedded.added_tokens as object[]),
    ...[4, 3, 2].map((n, i) => ({
      id: 4096 + i,
      content: " ".repeat(n),
      special: false,
      normalized: true,
      lstrip: false,
      rstrip: false,
      single_word: false,
    })),
    { id: 4099, content: "\n\n\n", special: false, normalized: true, lstrip: false, rstrip: false, single_word: false },
  ],
}

/** A small vocabulary of the Llama kind: `▁` for spaces, bytes as tokens of their own. */
const llamaTokens = [
  "<unk>",
  "<s>",
  "</s>",
  ...Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`),
  "▁",
  "a",
  "b",
  "▁a",
  "▁b",
  "ab",
  "▁ab",
  "é",
]
const llama = {
  added_tokens: ["<unk>", "<s>", "</s>"].map((content, id) => ({
    id,
    content,
    special: true,
    normalized: false,
    lstrip: false,
    rstrip: false,
    single_word: false,
  })),
  normalizer: {
    type: "Sequence",
    normalizers: [
      { type: "Prepend", prepend: "▁" },
      { type: "Replace", pattern: { String: " " }, content: "▁" },
    ],
  },
  pre_tokenizer: null,
  post_processor: {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    pair: [],
    special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
  },
  decoder: {
    type: "Sequence",
    decoders: [
      { type: "Replace", pattern: { String: "▁" }, content: " " },
      { type: "ByteFallback" },
      { type: "Fuse" },
      { type: "Strip", content: " ", start: 1, stop: 0 },
    ],
  },
  model: {
    type: "BPE",
    unk_token: "<unk>",
    byte_fallback: true,
    fuse_unk: true,
    vocab: Object.fromEntries(llamaTokens.map((token, id) => [token, id])),
    merges: ["▁ a", "▁ b", "a b", "▁a b"],
  },
}

const streamed = (t: Tokenizer, ids: readonly number[], options?: DecodeOptions): string[] => {
  const stream = t.stream(options)
  return [...ids.map((id) => stream.push(id)), stream.flush()]
}

describe("the embedded tokenizer", () => {
  it("gives the recorded ids of the validation text and the text back", () => {
    const golden = JSON.parse(read("test/golden/rustbook-mamba1/validation-mamba1.json")) as {
      tokens: number
      first_ids: number[]
      last_ids: number[]
    }
    const ids = tokenizer.encode(validation)
    expect(ids).toHaveLength(golden.tokens)
    expect(ids.slice(0, golden.first_ids.length)).toEqual(golden.first_ids)
    expect(ids.slice(-golden.last_ids.length)).toEqual(golden.last_ids)
    expect(tokenizer.decode(ids)).toBe(validation)
    expect([tokenizer.vocabSize, tokenizer.bosId, tokenizer.eosId]).toEqual([4096, 0, 0])
  })

  it("agrees with transformers on every prompt and generated text", () => {
    const golden = JSON.parse(read("test/golden/rustbook-mamba1/golden.json")) as {
      prompt: string
      ids: number[]
      greedy_ids: number[]
      greedy_text: string
    }[]
    for (const { prompt, ids, greedy_ids, greedy_text } of golden) {
      expect(tokenizer.encode(prompt)).toEqual(ids)
      expect(tokenizer.decode(greedy_ids, { skipSpecialTokens: true })).toBe(greedy_text)
      expect(streamed(tokenizer, greedy_ids, { skipSpecialTokens: true }).join("")).toBe(greedy_text)
    }
  })

  it("keeps special tokens in text unless asked to leave them out", () => {
    const ids = tokenizer.encode("a<|endoftext|>b")
    expect(ids).toContain(0)
    expect(tokenizer.decode(ids)).toBe("a<|endoftext|>b")
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("ab")
  })

  it("takes empty text, no ids, and ids of padded rows", () => {
    expect(tokenizer.encode("")).toEqual([])
    expect([...tokenizer.encodeSlices("")]).toEqual([])
    expect(tokenizer.decode([])).toBe("")
    expect(tokenizer.decode([4096, 1, 100_000])).toBe("!")
  })

  it("refuses what is neither text nor an id", () => {
    expect(() => tokenizer.encode(5 as unknown as string)).toThrow(OptionError)
    for (const id of [-1, 0.5, Number.NaN, "1"]) expect(() => tokenizer.decode([id as number])).toThrow(/token id/)
  })
})

describe.each([
  ["byte-level", tokenizer, embedded],
  ["byte-level with added tokens", new Tokenizer(neox), neox],
  ["of the Llama kind", new Tokenizer(llama), llama],
])("streaming, %s", (_name, t, json) => {
  const library = new Library(json, {})
  const anyIds = fc.array(fc.nat(t.vocabSize - 1), { maxLength: 40 })
  const textIds = fc.string({ unit: "grapheme", maxLength: 30 }).map((text) => t.encode(text))

  it("joins to the text of all ids, whatever the ids", () => {
    fc.assert(
      fc.property(fc.oneof(anyIds, textIds), fc.boolean(), (ids, skipSpecialTokens) => {
        const whole =
          ids.length === 0 ? "" : library.decode(ids, { skip_special_tokens: skipSpecialTokens, clean_up_tokenization_spaces: false })
        expect(streamed(t, ids, { skipSpecialTokens }).join("")).toBe(whole)
        expect(t.decode(ids, { skipSpecialTokens })).toBe(whole)
      }),
      { numRuns: 1000 },
    )
  })

  it("never ends a piece inside a character", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 30 }), (text) => {
        const pieces = streamed(t, t.encode(text))
        for (const piece of pieces) expect(piece.isWellFormed?.() ?? encodeURI(piece) !== "").toBe(true)
        // A character cut in two shows as replacement characters; the text may hold some of its own.
        const replaced = (part: string): number => part.split("\ufffd").length - 1
        expect(replaced(pieces.join(""))).toBe(replaced(text))
      }),
    )
  })
})

it("holds an emoji of many tokens back until it is whole, and shows broken bytes at the end", () => {
  const ids = tokenizer.encode("a🦀")
  expect(ids.length).toBeGreaterThan(2)
  const pieces = streamed(tokenizer, ids)
  expect(pieces.filter((piece) => piece !== "")).toEqual(["a", "🦀"])
  const cut = streamed(tokenizer, ids.slice(0, -1))
  expect(cut.slice(0, -1).join("")).toBe("a")
  expect(cut.at(-1)).toMatch(/^\ufffd+$/)
})

describe("long text", () => {
  const units = [
    "a",
    "B",
    "é",
    "e\u0301",
    "\u0301",
    "7",
    "'s",
    "'",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\n\n\n",
    "\t",
    "\u00a0",
    "\u3000",
    "\ufeff",
    "🦀",
    "👩‍👩‍👧",
    "<|endoftext|>",
    "<|end",
    "oftext|>",
    "-",
    "\ud800",
  ]
  const piece = fc.oneof(fc.constantFrom(...units), fc.string({ unit: "binary", maxLength: 3 }))
  const text = fc.array(piece, { maxLength: 60 }).map((parts) => parts.join(""))

  it.each([
    ["as trained", tokenizer],
    ["with NFC and runs of white space as added tokens", new Tokenizer(neox)],
  ])("has the same ids on both sides of every cut, %s", (_name, t) => {
    fc.assert(
      fc.property(text, fc.nat(120), (whole, from) => {
        const at = t.cut(whole, from)
        if (at < 0) return
        expect(at).toBeGreaterThanOrEqual(from)
        expect([...t.encode(whole.slice(0, at)), ...t.encode(whole.slice(at))]).toEqual(t.encode(whole))
      }),
      { numRuns: 2000 },
    )
  })

  it("is encoded in slices that join to the ids of the whole", () => {
    const long = `${validation}${" ".repeat(20_000)}${validation}🦀\r\n<|endoftext|> ${"ACGT".repeat(6000)}\n${validation}`
    const slices = [...tokenizer.encodeSlices(long)]
    expect(slices.length).toBeGreaterThan(4)
    expect(slices.flat()).toEqual(tokenizer.encode(long))
    expect(tokenizer.decode(slices.flat())).toBe(long)
  })

  it("is not cut where a rule of the vocabulary looks across", () => {
    const changed = (part: object): Tokenizer => new Tokenizer({ ...embedded, ...part })
    const added = (part: object): object => ({
      added_tokens: [{ id: 0, content: "x", special: false, normalized: false, lstrip: false, rstrip: false, single_word: false, ...part }],
    })
    expect(tokenizer.cut("a b", 0)).toBe(1)
    const across = [
      new Tokenizer(llama),
      changed({ pre_tokenizer: { type: "ByteLevel", add_prefix_space: true, use_regex: true } }),
      changed({ pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: false } }),
      changed({ pre_tokenizer: null }),
      changed({ normalizer: { type: "NFKC" } }),
      changed({ normalizer: { type: "Lowercase" } }),
      changed(added({ content: "a b" })),
      changed(added({ lstrip: true })),
      changed(added({ rstrip: true })),
    ]
    for (const t of across) {
      expect(t.cut("a b", 0)).toBe(-1)
      expect([...t.encodeSlices(`${"a b ".repeat(10_000)}`)]).toHaveLength(1)
    }
  })

  it("may be a megabyte, also without any place to cut", () => {
    const megabyte = validation.repeat(44)
    expect(tokenizer.decode(tokenizer.encode(megabyte))).toBe(megabyte)
    const sequence = "ACGTTGCAAC".repeat(100_000)
    const slices = [...tokenizer.encodeSlices(sequence)]
    expect(slices).toHaveLength(1)
    expect(tokenizer.decode(slices.flat())).toBe(sequence)
  })
})

describe("a broken tokenizer", () => {
  it.each([
    ["null", null],
    ["an array", []],
    ["an empty object", {}],
    ["no added tokens", { ...embedded, added_tokens: undefined }],
    ["a model without vocabulary", { ...embedded, model: { type: "BPE" } }],
    ["an unknown decoder", { ...embedded, decoder: { type: "Other" } }],
  ])("is refused by name: %s", (_what, json) => {
    let error: unknown
    try {
      new Tokenizer(json, {}, "folder/tokenizer.json")
    } catch (caught) {
      error = caught
    }
    expect(error).toBeInstanceOf(TokenizerError)
    expect(error).toMatchObject({ code: "TOKENIZER_INVALID", message: expect.stringContaining("folder/tokenizer.json") })
  })
})
