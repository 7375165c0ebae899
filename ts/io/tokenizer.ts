/** Text to token ids and back, over `@huggingface/tokenizers` (which reads the `tokenizer.json` of a checkpoint). */
import { Tokenizer as Inner } from "@huggingface/tokenizers"
import { OptionError, TokenizerError } from "../errors.ts"
import { byteLevelStream, type Piece, type TextStream, tokenBytes, windowStream } from "./detokenize.ts"

type Json = Record<string, unknown>

export interface DecodeOptions {
  /** Leaves out tokens such as `<|endoftext|>`. Default false: every id has its text. */
  skipSpecialTokens?: boolean
}

interface AddedToken {
  id: number
  content: string
  special?: boolean
  lstrip?: boolean
  rstrip?: boolean
}

/** Members of a normalizer, pre-tokenizer or decoder: those of a `Sequence`, else itself, else none. */
function members(part: unknown, key: string): Json[] {
  if (part === null || part === undefined) return []
  const step = part as Json
  return step.type === "Sequence" ? ((step[key] as Json[] | undefined) ?? []) : [step]
}

/**
 * Whether a text may be cut before an ASCII white space that follows anything else, and its parts be encoded on their own. GPT-2's pattern
 * never lets a piece run from a character that is not white space into one that is, its only look-ahead asks for white space or the end,
 * and it looks back at nothing: both sides match as they did in the whole. The normalizer NFC joins nothing to an ASCII character on its
 * left side. Added tokens must not contain such a place, nor strip their surroundings.
 */
function canSlice(json: Json, config: Json, added: readonly AddedToken[]): boolean {
  const model = json.model as Json
  const split = members(json.pre_tokenizer, "pretokenizers")
  const [first] = split
  return (
    model.type === "BPE" &&
    members(json.normalizer, "normalizers").every((step) => step.type === "NFC") &&
    split.length === 1 &&
    first?.type === "ByteLevel" &&
    first.use_regex !== false &&
    first.add_prefix_space !== true &&
    config.remove_space !== true &&
    config.do_lowercase_and_remove_accent !== true &&
    added.every((token) => !token.lstrip && !token.rstrip && !/\S\s/.test(token.content))
  )
}

/** Highest id + 1 over vocabulary and added tokens. */
function countIds(vocab: unknown, added: readonly AddedToken[]): number {
  let top = Array.isArray(vocab) ? vocab.length - 1 : -1
  if (!Array.isArray(vocab)) for (const id of Object.values(vocab as Record<string, number>)) top = Math.max(top, id)
  for (const { id } of added) top = Math.max(top, id)
  return top + 1
}

const sliceLength = 16_384

export class Tokenizer {
  /** Number of ids; the head of a model may have more rows, which stand for no text. */
  readonly vocabSize: number
  readonly bosId: number | undefined
  readonly eosId: number | undefined
  readonly #inner: Inner
  readonly #added: ReadonlyMap<number, AddedToken>
  readonly #byteLevel: boolean
  readonly #sliceable: boolean
  readonly #pieces: Piece[] = []

  /**
   * @param json parsed `tokenizer.json`
   * @param config parsed `tokenizer_config.json`
   * @param file names the tokenizer in errors
   * @throws TokenizerError when `json` is not a tokenizer this package can read
   */
  constructor(json: unknown, config: Readonly<Json> = {}, file: string = "tokenizer.json") {
    try {
      const parsed = json as Json
      const added = parsed.added_tokens as AddedToken[]
      this.#inner = new Inner(parsed, config)
      this.#added = new Map(added.map((token) => [token.id, token]))
      this.vocabSize = countIds((parsed.model as Json).vocab, added)
      const decoders = members(parsed.decoder, "decoders")
      this.#byteLevel = decoders.length === 1 && decoders[0]?.type === "ByteLevel" && !(parsed.model as Json).end_of_word_suffix
      // A post-processor that adds ids of its own would add them to every slice.
      this.#sliceable = canSlice(parsed, config, added) && this.#inner.encode("").ids.length === 0
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

  /** Ids of a text. */
  encode(text: string): number[] {
    if (typeof text !== "string") {
      throw new OptionError("OPTION_TYPE", `encode() takes a string, not ${text === null ? "null" : typeof text}.`, { fix: "Pass text." })
    }
    return this.#inner.encode(text).ids
  }

  /**
   * The first index from `from` on at which a text may be cut in two whose ids, one after the other, are those of the whole; -1 when there
   * is none. It holds for every continuation of the text too.
   */
  cut(text: string, from: number): number {
    if (!this.#sliceable) return -1
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
    const inner = this.#byteLevel
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
    const token = this.#inner.id_to_token(id)
    const piece = this.#added.get(id)?.content ?? (token === undefined ? undefined : tokenBytes(token))
    this.#pieces[id] = piece
    return piece
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
