// @ts-check
// Long texts in pieces: one that is made up as it goes, and one that is read from a file. Both end their pieces where a word ends.

const nouns = [
  "reference",
  "closure",
  "module",
  "thread",
  "lifetime",
  "slice",
  "trait",
  "channel",
  "iterator",
  "vector",
  "pattern",
  "crate",
]
const verbs = ["borrows", "moves", "returns", "locks", "sends", "checks", "clones", "drops", "reads", "owns", "matches", "extends"]
const places = ["in a loop", "before it goes out of scope", "at compile time", "on the heap", "without a copy", "in another thread"]
const openings = ["Usually", "In this case", "As before", "When the program runs", "Here", "Then", "On the other hand"]

/**
 * Sentences that say little but never repeat in a short cycle; the same for the same seed.
 * @param {number} bytes ends after about so many
 * @param {number} [pieceBytes]
 */
export function* madeUp(bytes, pieceBytes = 4096) {
  // A linear congruential generator (Numerical Recipes): enough to shuffle words.
  let random = 1
  const pick = (/** @type {readonly string[]} */ words) => {
    random = (Math.imul(random, 1664525) + 1013904223) >>> 0
    return words[Math.floor((random / 2 ** 32) * words.length)]
  }
  for (let sent = 0; sent < bytes; ) {
    let piece = ""
    const wanted = Math.min(pieceBytes, bytes - sent)
    while (piece.length < wanted) {
      piece += `${pick(openings)}, the ${pick(nouns)} ${pick(verbs)} a ${pick(nouns)} ${pick(places)}.${pick([" ", " ", "\n\n"])}`
    }
    sent += piece.length
    yield piece
  }
}

/** @param {Blob} file @param {number} [pieceLength] in UTF-16 units */
export async function* readText(file, pieceLength = 4096) {
  const reader = file.stream().pipeThrough(new TextDecoderStream()).getReader()
  let waiting = ""
  for (;;) {
    const { value, done } = await reader.read()
    waiting += value ?? ""
    while (waiting.length > pieceLength) {
      const cut = waiting.lastIndexOf(" ", pieceLength)
      const length = cut > 0 ? cut : pieceLength
      yield waiting.slice(0, length)
      waiting = waiting.slice(length)
    }
    if (!done) continue
    if (waiting.length > 0) yield waiting
    return
  }
}
