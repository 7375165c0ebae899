/** Files behind addresses, as a page reads them: from its cache while that is current, else from the network, and into the cache meanwhile. */
import { HubError } from "../../errors.ts"
import { joined } from "../bytes.ts"
import { bodyPieces, checkedFetch, incomplete } from "../http.ts"
import { Sha256 } from "../sha256.ts"
import type { CheckpointFile, SourceOptions } from "../types.ts"
import { Damaged, type Entry, type WebCache } from "./cache.ts"

/** How files are found. */
export interface RemoteContext {
  options: SourceOptions
  cache?: WebCache | undefined
  /** What the hub says of a commit, whose files never change. */
  pinned?: {
    commit: string
    /** Under which address a file is kept, so that a branch that moves on replaces what was kept of it. */
    key(url: URL): string
    /** SHA-256 of a large file, by its name. */
    sha256: ReadonlyMap<string, string>
  }
  /** For messages: `owner/name@revision`; otherwise the address. */
  what?: string
  /** Set once a file came from the cache. */
  kept?: boolean
}

const unreachable = "Check the network and the address; a server of another origin must allow this page to read from it (CORS)."
/** A page may hold a file in its address (`data:`, as bundlers write small ones) or in its memory (`blob:`); that one has no name. */
const isPlace = ({ protocol }: URL): boolean => protocol === "http:" || protocol === "https:"
const fileOf = (url: URL): string => (isPlace(url) ? decodeURIComponent(url.pathname.slice(url.pathname.lastIndexOf("/") + 1)) : "file")
const nameOf = (url: URL): string => (isPlace(url) ? url.href : `${url.href.slice(0, 40)}…`)

/** What tells one content of an address from another; empty when the server says nothing of the kind, or does not let the page see it. */
const tagOf = ({ headers }: Response): string => headers.get("x-linked-etag") ?? headers.get("etag") ?? headers.get("last-modified") ?? ""

/**
 * The hub's own tag of a large file, where no redirect hides it, is the SHA-256 of its content. Other servers have tags of that form that are
 * something else.
 */
const sha256Of = ({ headers }: Response): string | undefined => /^"?([0-9a-f]{64})"?$/.exec(headers.get("x-linked-etag") ?? "")?.[1]

/** Of a compressed answer the length is not that of the file. */
function lengthOf({ headers }: Response): number | undefined {
  const announced = headers.has("content-encoding") ? null : headers.get("content-length")
  return announced === null ? undefined : Number(announced)
}

class RemoteFile implements CheckpointFile {
  readonly name: string
  readonly bytes: number | undefined
  /** They go into the cache when their reader is done with them. */
  readonly lent = true
  readonly #begin: () => AsyncGenerator<Uint8Array>
  /** What `head` has read, and what comes after it. */
  #held: Uint8Array[] = []
  #rest: AsyncGenerator<Uint8Array> | undefined

  constructor(name: string, bytes: number | undefined, begin: () => AsyncGenerator<Uint8Array>) {
    this.name = name
    this.bytes = bytes
    this.#begin = begin
  }

  async head(length: number): Promise<Uint8Array> {
    this.#rest ??= this.#begin()
    let have = this.#held.reduce((sum, piece) => sum + piece.length, 0)
    while (have < length) {
      const next = await this.#rest.next()
      if (next.done === true) break
      this.#held.push(next.value.slice())
      have += next.value.length
    }
    return joined(this.#held, Uint8Array).subarray(0, length)
  }

  async *open(): AsyncGenerator<Uint8Array> {
    const held = this.#held
    const rest = this.#rest ?? this.#begin()
    this.#held = []
    this.#rest = undefined
    try {
      yield* held
      yield* rest
    } finally {
      await rest.return(undefined)
    }
  }

  async close(): Promise<void> {
    const rest = this.#rest
    this.#held = []
    this.#rest = undefined
    await rest?.return(undefined)
  }
}

class Remote {
  readonly #url: URL
  readonly #context: RemoteContext
  readonly #key: string
  readonly #fetch: typeof fetch

  constructor(url: URL, context: RemoteContext) {
    const { token, endpoint, signal } = context.options
    this.#url = url
    this.#context = isPlace(url) ? context : { ...context, cache: undefined }
    this.#key = context.pinned?.key(url) ?? url.href
    const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {}
    const origin = endpoint === undefined ? "" : new URL(endpoint).origin
    this.#fetch = checkedFetch(context.what ?? nameOf(url), signal, origin, headers, unreachable)
  }

  /** A page gets an application's start page, with status 200, from many servers for what they do not have. */
  async #get(): Promise<Response> {
    // The browser's own cache would keep the same bytes a second time.
    const response = await this.#fetch(this.#url.href, { cache: "no-store" } as RequestInit)
    if (!response.headers.get("content-type")?.startsWith("text/html")) return response
    await response.body?.cancel()
    const { href } = this.#url
    throw new HubError("HUB_NOT_FOUND", `${href} does not exist (the server answered with a page of HTML).`, {
      fix: "Check the address.",
      status: 404,
      url: href,
    })
  }

  async find(): Promise<CheckpointFile> {
    const { cache, pinned, options } = this.#context
    const entry = await cache?.find(this.#key, options.signal)
    if (entry !== undefined && (options.localFilesOnly === true || entry.tag === pinned?.commit)) return this.#kept(entry)
    if (options.localFilesOnly === true && isPlace(this.#url)) throw this.#offline("is not in the cache")
    let response: Response
    try {
      response = await this.#get()
    } catch (error) {
      if (!(error instanceof HubError)) throw error
      if (entry !== undefined && error.code === "HUB_UNREACHABLE") return this.#kept(entry)
      if (error.status === 404) cache?.keeper.drop(this.#key)
      throw error
    }
    const tag = this.#tag(response)
    if (entry !== undefined && tag !== "" && entry.tag === tag) {
      await response.body?.cancel()
      return this.#kept(entry)
    }
    return new RemoteFile(nameOf(this.#url), lengthOf(response), () => this.#download(response))
  }

  /** What tells the content of this address from what it was or will be. */
  #tag(response: Response): string {
    return this.#context.pinned?.commit ?? tagOf(response)
  }

  #offline(reason: string): HubError {
    return new HubError("HUB_OFFLINE", `${nameOf(this.#url)} ${reason}, and the network is off (localFilesOnly).`, {
      fix: "Allow the network once, or pass the files of a checkpoint.",
      url: this.#url.href,
    })
  }

  #kept(entry: Entry): RemoteFile {
    this.#context.kept = true
    return new RemoteFile(nameOf(this.#url), entry.bytes, () => this.#read(entry))
  }

  /** From the cache; from the first damaged block on from the network, provided that has the same content still. */
  async *#read(entry: Entry): AsyncGenerator<Uint8Array> {
    const { cache, options } = this.#context
    let loaded = 0
    try {
      for await (const piece of (cache as WebCache).read(this.#key, entry)) {
        options.signal?.throwIfAborted()
        loaded += piece.length
        options.onProgress?.({ phase: "read", file: fileOf(this.#url), loaded, total: entry.bytes })
        yield piece
      }
      return
    } catch (error) {
      if (!(error instanceof Damaged)) throw error
    }
    cache?.keeper.drop(this.#key)
    if (options.localFilesOnly === true) throw this.#offline("is damaged in the cache")
    const response = await this.#get()
    if (this.#tag(response) !== entry.tag) {
      await response.body?.cancel()
      throw incomplete(fileOf(this.#url), this.#url.href, "the copy in the cache was damaged, and the server has another version")
    }
    let skip = loaded
    for await (const piece of this.#download(response)) {
      if (skip < piece.length) yield piece.subarray(skip)
      skip = Math.max(0, skip - piece.length)
    }
  }

  /** The body, counted, checked against what was announced, and kept when it was whole. */
  async *#download(first: Response): AsyncGenerator<Uint8Array> {
    const { cache, pinned, options } = this.#context
    const { onProgress, signal } = options
    // Whoever reads a second time asks again.
    const response = first.bodyUsed ? await this.#get() : first
    const [file, total] = [fileOf(this.#url), lengthOf(response)]
    const broken = (reason: string, cause?: unknown): HubError => incomplete(file, this.#url.href, reason, cause)
    const sha256 = pinned?.sha256.get(file) ?? sha256Of(response)
    const hash = sha256 === undefined ? undefined : new Sha256()
    const writer = cache?.keeper.write(this.#key, this.#tag(response))
    const pieces = bodyPieces(response)
    let loaded = 0
    let whole = false
    try {
      for (;;) {
        const next = await pieces.next().catch((cause: unknown) => {
          signal?.throwIfAborted()
          throw broken(`the connection broke after ${loaded}${total === undefined ? "" : ` of ${total}`} bytes`, cause)
        })
        signal?.throwIfAborted()
        if (next.done === true) break
        const piece = next.value
        loaded += piece.length
        hash?.update(piece)
        onProgress?.({ phase: "download", file, loaded, total })
        yield piece
        // Whoever asks for the next is done with this one, and it can be kept without a copy.
        await writer?.push(piece)
      }
      if (total !== undefined && loaded !== total) throw broken(`${loaded} of ${total} bytes`)
      if (hash !== undefined && hash.hex() !== sha256) throw broken("its content does not match its digest")
      whole = true
      writer?.commit()
    } finally {
      if (!whole) writer?.abort()
      await pieces.return(undefined)
    }
  }
}

/** The file at `url`. @throws HubError, also `HUB_NOT_FOUND` when there is none; the signal's reason when aborted */
export async function openRemoteFile(url: URL, context: RemoteContext): Promise<CheckpointFile> {
  return new Remote(url, context).find()
}

/** Undefined when there is no such file. */
export async function findRemote(url: URL, context: RemoteContext): Promise<CheckpointFile | undefined> {
  try {
    return await openRemoteFile(url, context)
  } catch (error) {
    const { options } = context
    const absent = error instanceof HubError && (error.status === 404 || (error.code === "HUB_OFFLINE" && options.localFilesOnly === true))
    if (absent) return undefined
    throw error
  }
}
