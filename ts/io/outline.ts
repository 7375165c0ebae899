/** What a `tokenizer.json` says besides its tables of words, and its words as bytes: enough to decode, and cheap to hand to another thread. */
import { tokenBytes } from "./detokenize.ts"

type Json = Record<string, unknown>

export interface AddedToken {
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
function canSlice(json: Json, config: Readonly<Json>, added: readonly AddedToken[]): boolean {
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

export interface Outline {
  vocabSize: number
  added: readonly AddedToken[]
  byteLevel: boolean
  sliceable: boolean
  /** Ids of an empty text: those that a post-processor adds to every one. */
  empty: readonly number[]
}

/** The outline of a parsed `tokenizer.json` whose empty text has these ids. */
export function outlineOf(json: Json, config: Readonly<Json>, empty: readonly number[]): Outline {
  const added = json.added_tokens as AddedToken[]
  const decoders = members(json.decoder, "decoders")
  const { vocab, end_of_word_suffix: suffix } = json.model as Json
  return {
    vocabSize: countIds(vocab, added),
    added,
    byteLevel: decoders.length === 1 && decoders[0]?.type === "ByteLevel" && !suffix,
    // Ids that are added to every text would be added to every slice.
    sliceable: canSlice(json, config, added) && empty.length === 0,
    empty,
  }
}

/** The bytes of all words of a byte-level vocabulary, one after the other by id, and where each ends. */
export interface WordBytes {
  bytes: Uint8Array
  ends: Uint32Array
}

export function wordBytes({ model }: Json, { vocabSize, byteLevel }: Outline): WordBytes {
  const words: string[] = []
  const { vocab } = model as { vocab: Record<string, number> | [string, number][] }
  if (byteLevel && Array.isArray(vocab)) for (const [word] of vocab) words.push(word)
  else if (byteLevel) for (const [word, id] of Object.entries(vocab)) words[id] = word
  const ends = new Uint32Array(byteLevel ? vocabSize : 0)
  const parts = Array.from(ends, (_, id) => tokenBytes(words[id] ?? ""))
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const [id, part] of parts.entries()) {
    bytes.set(part, at)
    ends[id] = at += part.length
  }
  return { bytes, ends }
}

/** A tokenizer that was read in another thread, as data. */
export interface TokenizerData {
  outline: Outline
  words: WordBytes
  bosId: number | undefined
  eosId: number | undefined
  /** `tokenizer.json`, should this thread need its tables; as text, which costs nothing until then. */
  json: string
  config: Readonly<Json>
}

/** Tells such data from a parsed `tokenizer.json`. */
export class ReadTokenizer {
  readonly data: TokenizerData

  constructor(data: TokenizerData) {
    this.data = data
  }
}
