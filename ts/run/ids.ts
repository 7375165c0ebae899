/** From what callers give (text, ids, streams of either) to checked token ids. */
import { OptionError } from "../errors.ts"
import type { FeedInput, Ids, Prompt } from "./types.ts"

/** The part of a tokenizer that is needed here. */
export interface Encoder {
  encode(text: string): ArrayLike<number>
  /** Ids of a long text, in parts. */
  encodeSlices(text: string): Iterable<ArrayLike<number>>
  /** First index, not before `from`, where a text may be cut into two that are encoded on their own, or -1. */
  cut(text: string, from: number): number
}

/** Characters of streamed text that are encoded at once. */
const sliceLength = 16_384

export class IdReader {
  readonly #vocabSize: number
  readonly #tokenizer: () => Encoder

  /** `tokenizer` throws when there is none: ids alone never ask for it. */
  constructor(vocabSize: number, tokenizer: () => Encoder) {
    this.#vocabSize = vocabSize
    this.#tokenizer = tokenizer
  }

  check(id: unknown, at: number): number {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= this.#vocabSize) {
      throw new OptionError("TOKEN_ID_INVALID", `Token ${at} is ${String(id)}.`, { fix: `Ids are integers in [0, ${this.#vocabSize}).` })
    }
    return id
  }

  /** Ids of one prompt. */
  ids(prompt: Prompt): Int32Array {
    if (typeof prompt === "string") return this.#checked(this.#tokenizer().encode(prompt))
    if (!isIds(prompt)) {
      throw new OptionError("PROMPT_INVALID", `The prompt is ${describe(prompt)}.`, {
        fix: "Give text, or token ids as an array of integers or an Int32Array.",
      })
    }
    return this.#checked(prompt)
  }

  /** Checked ids of a stream, in slices of any length. */
  async *stream(input: FeedInput): AsyncGenerator<Int32Array> {
    if (typeof input !== "string" && isIds(input)) yield this.ids(input)
    else if (typeof input === "string") yield* this.#slices([input])
    else if (isStream(input)) yield* this.#parts(input)
    else
      throw new OptionError("PROMPT_INVALID", `The input is ${describe(input)}.`, { fix: "Give text, token ids, or an iterable of them." })
  }

  async *#slices(parts: Iterable<string> | AsyncIterable<string>): AsyncGenerator<Int32Array> {
    const tokenizer = this.#tokenizer()
    let text = ""
    // Where the next search for a cut starts: text without any is not searched again and again.
    let from = sliceLength
    for await (const part of parts) {
      text += part
      for (let cut = tokenizer.cut(text, from); text.length > from && cut >= 0; cut = tokenizer.cut(text, from)) {
        yield this.#checked(tokenizer.encode(text.slice(0, cut)))
        text = text.slice(cut)
        from = sliceLength
      }
      from = Math.max(sliceLength, text.length - 1)
    }
    for (const ids of tokenizer.encodeSlices(text)) yield this.#checked(ids)
  }

  #checked(ids: ArrayLike<number>): Int32Array {
    return Int32Array.from(ids, (id, at) => this.check(id, at))
  }

  async *#parts(input: Iterable<Prompt | number> | AsyncIterable<Prompt | number>): AsyncGenerator<Int32Array> {
    const iterator = Symbol.asyncIterator in input ? input[Symbol.asyncIterator]() : input[Symbol.iterator]()
    try {
      const first = await iterator.next()
      if (first.done === true) return
      if (typeof first.value === "string") yield* this.#slices(texts(first.value, iterator))
      else yield* this.#idParts(first.value, iterator)
    } finally {
      await iterator.return?.()
    }
  }

  async *#idParts(first: Ids | number, rest: AnyIterator): AsyncGenerator<Int32Array> {
    for await (const part of chain(first, rest)) {
      if (typeof part === "string") throw mixed()
      yield this.ids(typeof part === "number" ? [part] : part)
    }
  }
}

type AnyIterator = Iterator<Prompt | number> | AsyncIterator<Prompt | number>

async function* chain(first: Prompt | number, rest: AnyIterator): AsyncGenerator<Prompt | number> {
  yield first
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value
}

async function* texts(first: string, rest: AnyIterator): AsyncGenerator<string> {
  for await (const part of chain(first, rest)) {
    if (typeof part !== "string") throw mixed()
    yield part
  }
}

function mixed(): OptionError {
  return new OptionError("PROMPT_INVALID", "The stream mixes text and ids.", { fix: "Feed them one after the other." })
}

/** Whether this is a list of ids rather than a batch or a stream: typed arrays, and arrays that are empty or start with a number. */
export function isIds(value: unknown): value is Ids {
  if (value instanceof Int32Array || value instanceof Uint32Array || value instanceof Uint16Array) return true
  return Array.isArray(value) && value.every((item) => item === null || (typeof item !== "string" && typeof item !== "object"))
}

function isStream(value: unknown): value is Iterable<Prompt | number> | AsyncIterable<Prompt | number> {
  return typeof value === "object" && value !== null && (Symbol.asyncIterator in value || Symbol.iterator in value)
}

function describe(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "an array of something else" : `of type ${typeof value}`
}
