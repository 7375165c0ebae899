/** The page's side of `reading.ts`: opens a checkpoint in an engine's Worker, and writes to the page's caches what comes from there. */
import type { Engine, HeldCheckpoint } from "../../backend/interface.ts"
import { ReadTokenizer } from "../outline.ts"
import { Tokenizer } from "../tokenizer.ts"
import { withTokenizer } from "../tokenizer-file.ts"
import type { Checkpoint, CheckpointSource, FileLike, Progress, SourceOptions } from "../types.ts"
import { type Keeping, WebCache } from "./cache.ts"
import type { Found, ReadRequest } from "./reading.ts"
import { baseUrl, findPlace, openCheckpoint } from "./source.ts"

/** Files of a load that go into caches, by the numbers that the Worker gives them. */
class Writers {
  readonly #files = new Map<unknown, Promise<Keeping | undefined>>()

  write(file: unknown, cache: string, url: string, tag: string): void {
    this.#files.set(
      file,
      WebCache.open(cache).then((opened) => opened?.keeper.write(url, tag)),
    )
  }

  async push(file: unknown, pieces: readonly Uint8Array[]): Promise<void> {
    const writer = await this.#files.get(file)
    await Promise.all(pieces.map((piece) => writer?.push(piece)))
  }

  end(file: unknown, how: "commit" | "abort"): void {
    void this.#files.get(file)?.then((writer) => writer?.[how]())
    this.#files.delete(file)
  }

  /** Gives up what the Worker has not brought to an end: it may be dead. */
  close(): void {
    for (const file of [...this.#files.keys()]) this.end(file, "abort")
  }
}

const named = (part: unknown): unknown => (part instanceof URL ? part.href : part)
const isFiles = (source: unknown): source is ArrayLike<FileLike> =>
  typeof source === "object" && source !== null && "length" in source && !ArrayBuffer.isView(source)

/** A source in a form that can be sent: addresses as text, lists as arrays. */
function packed(source: CheckpointSource | undefined): Pick<ReadRequest, "source" | "paths"> {
  if (isFiles(source)) {
    const files = Array.from(source)
    const paths = files.every((file) => file instanceof Blob) ? files.map((file) => file.webkitRelativePath || file.name) : undefined
    return { source: files, paths }
  }
  if (typeof source !== "object" || source === null || Object.getPrototypeOf(source) !== Object.prototype) {
    return { source: named(source) as CheckpointSource, paths: undefined }
  }
  const parts = Object.entries(source).map(([name, part]) => [name, Array.isArray(part) ? part.map(named) : named(part)])
  return { source: Object.fromEntries(parts), paths: undefined }
}

/** In this thread. */
async function openHere(source: CheckpointSource | undefined, options: SourceOptions): Promise<Checkpoint> {
  return withTokenizer(await openCheckpoint(source, options), findPlace, options)
}

/** `openCheckpoint` in the thread of `engine`, where it has one that reads. */
export async function openElsewhere(source: CheckpointSource | undefined, given: SourceOptions, engine?: Engine): Promise<Checkpoint> {
  if (engine?.hold === undefined) return openHere(source, given)
  const { onProgress, signal, ...options } = given
  signal?.throwIfAborted()
  const stop = new AbortController()
  const abort = (): void => stop.abort(signal?.reason)
  signal?.addEventListener("abort", abort)
  const writers = new Writers()
  const answers: Record<string, (...args: never[]) => unknown> = {
    progress(progress: Progress) {
      try {
        onProgress?.(progress)
      } catch (error) {
        stop.abort(error)
      }
    },
    settled: async (cache: string, url: string) => (await WebCache.open(cache))?.keeper.settled(url, stop.signal).catch(() => {}),
    drop: async (cache: string, url: string) => (await WebCache.open(cache))?.keeper.drop(url),
    write: (...args: Parameters<Writers["write"]>) => writers.write(...args),
    push: (...args: Parameters<Writers["push"]>) => writers.push(...args),
    commit: (file: number) => writers.end(file, "commit"),
    abort: (file: number) => writers.end(file, "abort"),
  }
  let held: HeldCheckpoint | undefined
  const close = (): void => {
    signal?.removeEventListener("abort", abort)
    held?.close()
    writers.close()
  }
  try {
    const request: ReadRequest = { ...packed(source), options, base: baseUrl() }
    held = await engine.hold(request, (verb, args) => answers[verb]?.(...(args as never[])), stop.signal)
    const { tokenizer, ...found } = held.found as Found
    return {
      ...found,
      files: [],
      tokenizer: tokenizer && new Tokenizer(new ReadTokenizer(tokenizer)),
      held: { ...held, close },
    }
  } catch (error) {
    close()
    // Of what a page can have, functions alone cannot be sent: a file that is not the browser's own is read here.
    if ((error as Error | null)?.name === "DataCloneError") return openHere(source, given)
    throw error
  }
}
