/** Bytes that arrive in pieces. */
import type { Progress, SourceOptions } from "./types.ts"

/** Pieces in one array. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [first] = parts
  if (parts.length === 1 && first !== undefined) return first
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

/** All pieces of a stream in one array. */
export async function gathered(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const piece of pieces) parts.push(piece)
  return joined(parts)
}

/** Passes pieces on and tells of each; ends with the signal's reason when aborted between two. */
export async function* watched(
  pieces: AsyncIterable<Uint8Array>,
  about: Omit<Progress, "loaded">,
  { onProgress, signal }: Pick<SourceOptions, "onProgress" | "signal">,
): AsyncGenerator<Uint8Array> {
  let loaded = 0
  for await (const piece of pieces) {
    signal?.throwIfAborted()
    loaded += piece.length
    onProgress?.({ ...about, loaded })
    yield piece
  }
}
