/** Text to token ids and back, over `@huggingface/tokenizers` (which reads the `tokenizer.json` of a checkpoint). */
import { Tokenizer as Inner } from "@huggingface/tokenizers"
import { OptionError, TokenizerError } from "../errors.ts"
import { byteLevelStream, type Piece, type TextStream, tokenBytes, windowStream } from "./detokenize.ts"
import { type AddedToken, type Outline, outlineOf, ReadTokenizer, type TokenizerData } from "./outline.ts"

type Json = Record<string, unknown>

export interface DecodeOptions {
  /** Leaves out tokens such as `<|endoftext|>`. Default false: every id has its text. */
  skipSpecialTokens?: boolean
}

const sliceLength = 16_384

export class Tokenizer {
  /** Number of ids; the head of a model may have more rows, which stand for no text. */
  readonly vocabSize: number
  readonly bosId: number | undefined
  readonly eosId: number | undefined
  readonly #outline: Outline
  readonly #added: ReadonlyMap<number, AddedToken>
  readonly #read: TokenizerData | undefined
  #made: Inner | undefined
  readonly #pieces: Piece[] = []

  /**
   * @param json parsed `tokenizer.json`
   * @param config parsed `tokenizer_config.json`
   * @param file names the tokenizer in errors
   * @throws TokenizerError when `json` is not a tokenizer this package can read
   */
  constructor(json: unknown, config: Readonly<Json> = {}, file: string = "tokenizer.json") {
    if (json instanceof ReadTokenizer) {
      this.#read = json.data
      this.#outline = json.data.outline
      this.bosId = json.data.bosId
      this.eosId = json.data.eosId
    } else {
      try {
        this.#made = new Inner(json as Json, config)
        this.#outline = outlineOf(json as Json, config, this.#made.encode("").ids)
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message : String(cause)
        throw new TokenizerError("TOKENIZER_INVALID", `${file} is not a tokenizer that can be read (${reason}).`, {
          fix: "Download the file again, or load with another tokenizer.json; ids work without one.",
          cause,
        })
      }
      this.bosId = this.#idOf(config.bos_token)
      this.eosId = this.#idOf(config.eos_token)
    }
    this.vocabSize = this.#outline.vocabSize
    this.#added = new Map(this.#outline.added.map((token) => [token.id, token]))
  }

  /** The tables of words. To make those of 50 000 takes a tenth of a second, which is why they wait until somebody needs them here. */
  get #inner(): Inner {
    if (this.#made === undefined) {
      const { json, config } = this.#read as TokenizerData
      this.#made = new Inner(JSON.parse(json) as Json, config)
    }
    return this.#made
  }

  /** Ids of a text. */
  encode(text: string): number[] {
    if (typeof text !== "string") {
      throw new OptionError("OPTION_TYPE", `encode() takes a string, not ${text === null ? "null" : typeof text}.`, { fix: "Pass text." })
    }
    return text === "" ? [...this.#outline.empty] : this.#inner.encode(text).ids
  }

  /**
   * The first index from `from` on at which a text may be cut in two whose ids, one after the other, are those of the whole; -1 when there
   * is none. It holds for every continuation of the text too.
   */
  cut(text: string, from: number): number {
    if (!this.#outline.sliceable) return -1
    const boundary = /\S(?=[ \t\r\n])/g
    boundary.lastIndex = Math.max(0, from - 1)
    return boundary.test(text) ? boundary.lastIndex : -1
  }

  /** Ids of a long text in parts whose concatenation is exactly `encode(text)`; one part where the vocabulary's rules allow no cut. */
  *encodeSlices(text: string): Generator<number[], void, undefined> {
    for (let from = 0; from < text.length; ) {
      const found = this.cut(text, from + sliceLength)
      const to = found < 0 ? text.length : found
      yield this.encode(text.slice(from, to))
      from = to
    }
  }

  /** Text of ids. Ids from `vocabSize` on (padding of the head) have none. */
  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const stream = this.stream(options)
    let text = ""
    for (const id of ids) text += stream.push(id)
    return text + stream.flush()
  }

  /** Text of ids that arrive one by one. No piece ends inside a character, and all pieces joined are `decode` of all ids. */
  stream(options: DecodeOptions = {}): TextStream {
    const skip = options.skipSpecialTokens === true
    const skips = (id: number): boolean => skip && this.#added.get(id)?.special === true
    const inner = this.#outline.byteLevel
      ? byteLevelStream((id) => this.#piece(id))
      : windowStream(
          (ids) => this.#decodeInner(ids),
          (id) => /^<0x[0-9A-Fa-f]{2}>$/.test(this.#inner.id_to_token(id) ?? ""),
        )
    return {
      push(id) {
        if (!Number.isSafeInteger(id) || id < 0) {
          throw new OptionError("OPTION_RANGE", `A token id is a whole number from 0, not ${String(id)}.`, {
            fix: "Pass ids from encode() or generate().",
          })
        }
        return skips(id) ? "" : inner.push(id)
      },
      flush: () => inner.flush(),
    }
  }

  #piece(id: number): Piece {
    const known = this.#pieces[id]
    if (known !== undefined || id >= this.vocabSize) return known
    const piece = this.#added.get(id)?.content ?? this.#bytes(id)
    this.#pieces[id] = piece
    return piece
  }

  #bytes(id: number): Piece {
    const { bytes, ends } = this.#read?.words ?? {}
    if (bytes !== undefined) return bytes.subarray(ends?.[id - 1] ?? 0, ends?.[id])
    const token = this.#inner.id_to_token(id)
    return token === undefined ? undefined : tokenBytes(token)
  }

  #decodeInner(ids: number[]): string {
    const known = ids.filter((id) => this.#inner.id_to_token(id) !== undefined)
    if (known.length === 0) return ""
    // The library's default "clean up" would drop spaces before punctuation, and with them the round trip.
    return this.#inner.decode(known, { clean_up_tokenization_spaces: false })
  }

  #idOf(token: unknown): number | undefined {
    const content = typeof token === "object" && token !== null ? (token as Json).content : token
    return typeof content === "string" ? this.#inner.token_to_id(content) : undefined
  }
}
