/** One file over HTTP onto this machine: checked, then renamed into place, so that a name in the cache always means a whole file. */
import { createHash, randomBytes } from "node:crypto"
import { createWriteStream } from "node:fs"
import { mkdir, rename, rm } from "node:fs/promises"
import { dirname } from "node:path"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import type { ReadableStream } from "node:stream/web"
import { HubError } from "../errors.ts"
import { incomplete } from "./http.ts"
import type { SourceOptions } from "./types.ts"

/** Variables that switch something on, as Python's hub library reads them. */
export const isOn = (value: string | undefined): boolean => /^(1|true|yes|on)$/i.test(value ?? "")

/** Whether the network must not be asked. */
export const isOffline = (options: SourceOptions): boolean => options.localFilesOnly === true || isOn(process.env.HF_HUB_OFFLINE)

export interface Expected {
  /** Bytes, when known. */
  size?: number
  /** Digest of the content; `git` is that of a git blob (SHA-1 over a header with the size, then the content). */
  hash?: { kind: "sha256" | "git"; hex: string }
}

/** Runs what writes to the cache at `path`; a file system that refuses is a typed error. */
export async function intoCache<T>(path: string, url: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write()
  } catch (cause) {
    const { code, syscall } = (cause ?? {}) as NodeJS.ErrnoException
    if (code === undefined || syscall === undefined || cause instanceof HubError) throw cause
    throw new HubError("HUB_CACHE", `${path} cannot be written (${code}).`, {
      fix: "Give cacheDir or HF_HOME a folder that can be written, with enough space.",
      url,
      cause,
    })
  }
}

/**
 * Streams a response into `path`: temporary name, size and digest checked, rename. @throws HubError, or the signal's reason when aborted
 */
export async function saveResponse(
  response: Response,
  path: string,
  file: string,
  expected: Expected,
  options: SourceOptions,
): Promise<void> {
  const { onProgress, signal } = options
  // Of a compressed answer the length is not that of the file.
  const announced = response.headers.has("content-encoding") ? null : response.headers.get("content-length")
  const total = expected.size ?? (announced === null ? undefined : Number(announced))
  const hash = createHash(expected.hash?.kind === "git" ? "sha1" : "sha256")
  if (expected.hash?.kind === "git") hash.update(`blob ${expected.size}\0`)
  let loaded = 0
  async function* counted(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      loaded += chunk.length
      hash.update(chunk)
      onProgress?.({ phase: "download", file, loaded, total })
      yield chunk
    }
  }
  const broken = (reason: string, cause?: unknown): HubError => incomplete(file, response.url, reason, cause)
  const temporary = `${path}.${randomBytes(6).toString("hex")}.incomplete`
  await intoCache(path, response.url, async () => {
    await mkdir(dirname(path), { recursive: true })
    try {
      const body = response.body === null ? Readable.from([]) : Readable.fromWeb(response.body as ReadableStream)
      await pipeline(body, counted, createWriteStream(temporary, { flags: "wx" }), { signal }).catch((cause: unknown) => {
        signal?.throwIfAborted()
        if ((cause as NodeJS.ErrnoException | null)?.syscall !== undefined) throw cause
        throw broken(`the connection broke after ${loaded}${total === undefined ? "" : ` of ${total}`} bytes`, cause)
      })
      if (total !== undefined && loaded !== total) throw broken(`${loaded} of ${total} bytes`)
      if (expected.hash !== undefined && hash.digest("hex") !== expected.hash.hex) throw broken("its content does not match its digest")
      await rename(temporary, path)
    } finally {
      await rm(temporary, { force: true })
    }
  })
}
