/** Models for tests: the golden checkpoints on any backend, and a tokenizer of one letter a token. */
import type { Backend } from "../../ts/backend/interface.ts"
import { Sha256 } from "../../ts/io/sha256.ts"
import type { Tokenizer } from "../../ts/io/tokenizer.ts"
import { families } from "../../ts/models/index.ts"
import { type Model, type ModelParts, openModel } from "../../ts/run/model.ts"
import { openFolder, readText } from "./files.ts"

/** Of the repository, with a slash behind it; in a page of no use. */
export const root: string = decodeURIComponent(new URL("../../", import.meta.url).pathname)

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

/** The model in a folder of the repository, with its configuration changed by `config`. */
export async function openModelIn(path: string, backend: Backend, parts: Partial<ModelParts> & { config?: object } = {}): Promise<Model> {
  const { config, ...rest } = parts
  const read = await openFolder(path)
  const checkpoint = { ...read, config: { ...read.config, ...config }, generationConfig: { ...read.generationConfig, ...config } }
  return openModel({ checkpoint, families, backend, ...rest })
}
/** A small random checkpoint. */
export const openFamily = (name: string, backend: Backend, parts: Parameters<typeof openModelIn>[2] = {}): Promise<Model> =>
  openModelIn(`test/golden/families/${name}`, backend, parts)

export const golden = <T>(path: string): T => JSON.parse(readText(`test/golden/${path}`)) as T

/** Ids that look random and are the same in every run. */
export function someIds(length: number, vocabSize: number, seed: number = 1): Int32Array {
  let x = seed
  return Int32Array.from({ length }, () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    return (x >>> 8) % vocabSize
  })
}

/** max|a − b| / max|a|. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY
  let [difference, largest] = [0, 0]
  for (let i = 0; i < a.length; i++) {
    difference = Math.max(difference, Math.abs((a[i] as number) - (b[i] as number)))
    largest = Math.max(largest, Math.abs(a[i] as number))
  }
  return difference === 0 ? 0 : Number.isNaN(difference) ? Number.NaN : difference / largest
}

/** Stands for many bytes in a comparison, which element by element takes longer than the work that is tested. */
export const digest = (bytes: Uint8Array): string => new Sha256().update(bytes).hex()
