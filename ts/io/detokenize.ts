/**
 * Text from token ids, one at a time. A token of a byte-level vocabulary may end in the middle of a UTF-8 character, so a streamed piece
 * must wait until its last character is whole. Either decoder below keeps one promise: its pieces, joined, are the text of all ids at
 * once.
 */

/**
 * Makes text of ids in order. `push` returns what has become certain, `flush` the rest (U+FFFD for bytes that never became a character).
 */
export interface TextStream {
  push(id: number): string
  flush(): string
}

/** What a byte-level token stands for: raw bytes, or the literal text of an added token, or nothing (an id beyond the vocabulary). */
export type Piece = Uint8Array | string | undefined

/** Bytes of the printable characters that byte-level vocabularies write instead of bytes (GPT-2's table). */
const byteOfCharacter: ReadonlyMap<string, number> = (() => {
  const table = new Map<string, number>()
  let moved = 256
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
    table.set(String.fromCharCode(printable ? byte : moved++), byte)
  }
  return table
})()

/** Bytes of a token of a byte-level vocabulary; a token outside the alphabet stands for itself. */
export function tokenBytes(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length)
  for (let i = 0; i < token.length; i++) {
    const byte = byteOfCharacter.get(token[i] as string)
    if (byte === undefined) return new TextEncoder().encode(token)
    bytes[i] = byte
  }
  return bytes
}

/** Streams a byte-level vocabulary: a streaming UTF-8 decoder, restarted at every added token because these are text, not bytes. */
export function byteLevelStream(piece: (id: number) => Piece): TextStream {
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })
  return {
    push(id) {
      const part = piece(id)
      if (part === undefined) return ""
      return typeof part === "string" ? utf8.decode() + part : utf8.decode(part, { stream: true })
    },
    flush: () => utf8.decode(),
  }
}

/**
 * Streams any other vocabulary through `decode`, which may look at neighbors (a leading space is stripped, runs of `<0xNN>` tokens form
 * characters): decodes a window that starts one piece early and returns what it adds. `holds` says of a token that what follows may still
 * change its text.
 */
export function windowStream(decode: (ids: number[]) => string, holds: (id: number) => boolean): TextStream {
  let before: number[] = []
  let held: number[] = []
  const take = (): string => {
    if (held.length === 0) return ""
    const shown = before.length === 0 ? 0 : decode(before).length
    const text = decode([...before, ...held]).slice(shown)
    before = held
    held = []
    return text
  }
  return {
    push(id) {
      held.push(id)
      return holds(id) ? "" : take()
    },
    flush: take,
  }
}
