/** Bytes that arrive in pieces. */
import type { Progress, SourceOptions } from "./types.ts"

/** Parts in one array of their kind; a single part is given back as it is. */
export function joined<T extends Uint8Array | Int32Array>(parts: readonly T[], kind: new (length: number) => T): T {
  const [first] = parts
  if (parts.length === 1 && first !== undefined) return first
  const all = new kind(parts.reduce((sum, { length }) => sum + length, 0))
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
  return joined(parts, Uint8Array)
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
