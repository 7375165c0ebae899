/** From what callers give (text, ids, streams of either) to checked token ids. */
import type { AsyncEncoder } from "../backend/interface.ts"
import { turn } from "../backend/turn.ts"
import { OptionError } from "../errors.ts"
import { joined } from "../io/bytes.ts"
import type { FeedInput, Ids, Prompt } from "./types.ts"

/** The part of a tokenizer that is needed here. */
export interface Encoder {
  encode(text: string): ArrayLike<number>
  /** Ids of a long text, in parts. */
  encodeSlices(text: string): Iterable<ArrayLike<number>>
  /** First index, not before `from`, where a text may be cut into two that are encoded on their own, or -1. */
  cut(text: string, from: number): number
}

/** Characters of text that are encoded at once. */
const sliceLength = 16_384
/** Text up to here is encoded faster than it is handed to another thread and back. */
const shortLength = 2048

/** Whether encoding takes so long that it should not hold up the event loop. */
function isLong(text: string): boolean {
  return text.length > shortLength
}

export class IdReader {
  readonly #vocabSize: number
  readonly #tokenizer: () => Encoder
  readonly #elsewhere: () => Promise<AsyncEncoder> | undefined
  readonly #away: boolean

  /**
   * `tokenizer` throws when there is none: ids alone never ask for it. `elsewhere` is the same tokenizer in another thread, where there is one
   * to spare; otherwise long text is encoded here in slices, between which the event loop has its turn. With `away` the words are there and
   * not here, so short text goes there too.
   */
  constructor(
    vocabSize: number,
    tokenizer: () => Encoder,
    elsewhere: () => Promise<AsyncEncoder> | undefined = () => undefined,
    away: boolean = false,
  ) {
    this.#vocabSize = vocabSize
    this.#tokenizer = tokenizer
    this.#elsewhere = elsewhere
    this.#away = away
  }

  /** Whether the ids of a prompt take their time, and are for `read`. */
  waits(prompt: Prompt): prompt is string {
    return typeof prompt === "string" && (isLong(prompt) || (this.#away && prompt !== ""))
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

  /** Ids of one prompt, of text without holding up the event loop. */
  async read(prompt: Prompt, signal?: AbortSignal): Promise<Int32Array> {
    if (!this.waits(prompt)) return this.ids(prompt)
    const parts: Int32Array[] = []
    for await (const ids of this.#slices([prompt])) {
      signal?.throwIfAborted()
      parts.push(ids)
    }
    return joined(parts, Int32Array)
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
        yield* this.#encoded(text.slice(0, cut))
        text = text.slice(cut)
        from = sliceLength
      }
      from = Math.max(sliceLength, text.length - 1)
    }
    yield* this.#encoded(text)
  }

  async *#encoded(text: string): AsyncGenerator<Int32Array> {
    const elsewhere = this.waits(text) ? await this.#elsewhere() : undefined
    if (elsewhere) yield this.#checked(await elsewhere.encode(text))
    else {
      for (const ids of this.#tokenizer().encodeSlices(text)) {
        yield this.#checked(ids)
        if (isLong(text)) await turn()
      }
    }
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
