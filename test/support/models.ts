/** Models for tests: the golden checkpoints on any backend, and a tokenizer of one letter a token. */
import { fileURLToPath } from "node:url"
import type { Backend, EngineOptions } from "../../ts/backend/interface.ts"
import { readCheckpoint } from "../../ts/io/checkpoint.ts"
import type { Tokenizer } from "../../ts/io/tokenizer.ts"
import { families } from "../../ts/models/index.ts"
import { type Model, type ModelParts, openModel } from "../../ts/run/model.ts"

export const root: string = fileURLToPath(new URL("../..", import.meta.url))

/** Id i is the letter i mod 26; text is read letter by letter. */
export const letters = {
  vocabSize: 320,
  encode: (text: string) => [...text].map((letter) => letter.charCodeAt(0) - 97),
  *encodeSlices(text: string) {
    yield letters.encode(text)
  },
  cut: (text: string, from: number) => (from < text.length ? from : -1),
  decode: (ids: Iterable<number>) => [...ids].map((id) => String.fromCharCode(97 + (id % 26))).join(""),
  stream: () => ({ push: (id: number) => letters.decode([id]), flush: () => "" }),
} as unknown as Tokenizer

/** The small random checkpoint of `test/golden/families`. */
export async function openFamily(
  name: string,
  backend: Backend,
  parts: Partial<ModelParts> & { engine?: EngineOptions } = {},
): Promise<Model> {
  const checkpoint = await readCheckpoint(`${root}test/golden/families/${name}`)
  return openModel({ checkpoint, families, backend, ...parts })
}
