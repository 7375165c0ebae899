/**
 * Checkpoints that an engine's Worker reads for its page. The Worker brings the bytes to their place and makes the tokenizer; the page gets
 * what it asks of either, as data. `elsewhere.ts` is the page's side.
 */
import type { Asker, Reading } from "../../backend/interface.ts"
import { packEdges } from "../edges.ts"
import { handOver } from "../handover.ts"
import { outlineOf, type TokenizerData, wordBytes } from "../outline.ts"
import type { Tokenizer } from "../tokenizer.ts"
import { withTokenizer } from "../tokenizer-file.ts"
import type { Checkpoint, CheckpointSource, FileLike, Progress, SourceOptions } from "../types.ts"
import type { Keeper, Keeping } from "./cache.ts"
import { findPlace, openCheckpoint, type ReadOptions } from "./source.ts"

type Json = Record<string, unknown>

/** What a page asks for, in a form that survives structured cloning. */
export interface ReadRequest {
  source: CheckpointSource | undefined
  /** Where the files of `source` lie, which not every browser clones with them. */
  paths: string[] | undefined
  options: SourceOptions
  /** What relative addresses start from. */
  base: string | undefined
}

/** What is found: the checkpoint as data. */
export interface Found extends Omit<Checkpoint, "files" | "tokenizer" | "tokenizerFiles" | "held"> {
  tokenizer: TokenizerData | undefined
}

/** Bytes for a cache that are sent at once, and that may be under way: a page has better to do than to hear of each piece. */
const batchBytes = 2 ** 22
const mostBytes = 2 ** 25
/** Milliseconds between two words of progress. */
const pace = 16

/** The page writes its caches, for all its Workers: it outlives them, and knows what others are writing. */
class FarKeeper implements Keeper {
  readonly #cache: string
  readonly #page: Asker
  readonly #next: () => number

  constructor(cache: string, page: Asker, next: () => number) {
    this.#cache = cache
    this.#page = page
    this.#next = next
  }

  async settled(url: string, signal?: AbortSignal): Promise<void> {
    await this.#page.ask("settled", [this.#cache, url])
    signal?.throwIfAborted()
  }

  write(url: string, tag: string): Keeping {
    const [page, file] = [this.#page, this.#next()]
    page.tell("write", [file, this.#cache, url, tag])
    let [batch, bytes, waiting]: [Uint8Array[], number, number] = [[], 0, 0]
    const send = async (): Promise<void> => {
      const [pieces, length] = [batch, bytes]
      batch = []
      bytes = 0
      waiting += length
      const taken = page
        .ask(
          "push",
          [file, pieces],
          pieces.map(({ buffer }) => buffer as ArrayBuffer),
        )
        .then(() => {
          waiting -= length
        })
      if (waiting >= mostBytes) await taken
    }
    return {
      async push(piece) {
        batch.push(piece.byteLength === piece.buffer.byteLength ? piece : piece.slice())
        bytes += piece.length
        if (bytes >= batchBytes) await send()
      },
      commit() {
        void send()
        page.tell("commit", [file])
      },
      abort: () => page.tell("abort", [file]),
    }
  }

  drop(url: string): void {
    this.#page.tell("drop", [this.#cache, url])
  }
}

/** Tells the page of progress at its pace, and of each file's last step in any case. */
class Teller {
  readonly #page: Asker
  #last: Progress | undefined
  #due = 0

  constructor(page: Asker) {
    this.#page = page
  }

  hear(progress: Progress): void {
    const last = this.#last
    if (last !== undefined && (last.file !== progress.file || last.phase !== progress.phase)) this.flush()
    this.#last = progress
    if (performance.now() >= this.#due) this.flush()
  }

  flush(): void {
    if (this.#last !== undefined) this.#page.tell("progress", [this.#last])
    this.#last = undefined
    this.#due = performance.now() + pace
  }
}

function dataOf(tokenizer: Tokenizer, { json, config }: NonNullable<Checkpoint["tokenizerFiles"]>): TokenizerData {
  const outline = outlineOf(json as Json, config as Json, tokenizer.encode(""))
  const { bosId, eosId } = tokenizer
  return { outline, words: wordBytes(json as Json, outline), bosId, eosId, json: JSON.stringify(json), config: config as Json }
}

const placed = (file: FileLike, path: string): FileLike => ({
  ...{ name: file.name, size: file.size, webkitRelativePath: path },
  slice: (start, end) => file.slice(start, end),
  arrayBuffer: () => file.arrayBuffer(),
})

/** Opens what is asked for, and tells the page of its progress. */
export async function read(request: object, page: Asker, signal: AbortSignal): Promise<Reading> {
  const { source, paths, options, base } = request as ReadRequest
  const given = paths === undefined ? source : Array.from(source as ArrayLike<FileLike>, (file, i) => placed(file, paths[i] as string))
  const teller = new Teller(page)
  let count = 0
  const reading: ReadOptions = {
    ...{ ...options, base, signal },
    onProgress: (progress) => teller.hear(progress),
    keeper: (cache) => new FarKeeper(cache, page, () => count++),
  }
  const { tokenizer, tokenizerFiles, files: found, ...rest } = await withTokenizer(await openCheckpoint(given, reading), findPlace, reading)
  let files = found
  teller.flush()
  const data = tokenizer && tokenizerFiles && dataOf(tokenizer, tokenizerFiles)
  return {
    found: { ...rest, tokenizer: data } satisfies Found,
    transfer: data === undefined ? [] : [data.words.bytes.buffer as ArrayBuffer, data.words.ends.buffer as ArrayBuffer],
    encode: (text) => (tokenizer as Tokenizer).encode(text),
    async handOver(tensors) {
      const taken = files
      // They may be bytes that came with the request, and are needed once.
      files = []
      const { read: at, ...handed } = await handOver(taken, tensors, "wasm")
      const own = (number: number) => tensors.filter(({ file }) => file === number)
      return {
        ...handed,
        edges: () => taken.map((_, number) => packEdges(own(number), (offset, length) => at(number, offset, length))),
        close() {
          teller.flush()
          return handed.close()
        },
      }
    },
  }
}
