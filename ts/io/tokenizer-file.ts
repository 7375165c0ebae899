/** A tokenizer that lies somewhere else than its checkpoint. */
import { StatespaceError, TokenizerError } from "../errors.ts"
import type { FindPlace } from "./given.ts"
import { Tokenizer } from "./tokenizer.ts"
import type { Checkpoint, SourceOptions } from "./types.ts"

async function readAt(place: string, find: FindPlace, options: SourceOptions): Promise<Pick<Checkpoint, "tokenizer" | "tokenizerFiles">> {
  const unread = (cause?: unknown): TokenizerError =>
    new TokenizerError("TOKENIZER_INVALID", `${place} cannot be read as a tokenizer.`, {
      fix: "Give the path or the address of a tokenizer.json.",
      cause,
    })
  const file = await find(place, options)
  if (file === undefined) throw unread()
  try {
    const json = JSON.parse(new TextDecoder().decode(await file.head(Number.POSITIVE_INFINITY))) as object
    return { tokenizer: new Tokenizer(json, {}, place), tokenizerFiles: { json, config: {} } }
  } catch (cause) {
    options.signal?.throwIfAborted()
    throw cause instanceof StatespaceError ? cause : unread(cause)
  } finally {
    await file.close()
  }
}

/** The checkpoint, with the tokenizer that `options` name instead of its own. @throws TokenizerError when that cannot be read */
export async function withTokenizer(checkpoint: Checkpoint, find: FindPlace, options: SourceOptions): Promise<Checkpoint> {
  if (options.tokenizer === undefined) return checkpoint
  try {
    return { ...checkpoint, ...(await readAt(options.tokenizer, find, options)), tokenizerMissing: undefined }
  } catch (error) {
    for (const file of checkpoint.files) await file.close()
    throw error
  }
}
