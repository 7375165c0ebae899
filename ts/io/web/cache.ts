/**
 * Downloads that a browser keeps, in its Cache Storage. `put` takes a stream and stores all of it or nothing, so what an abort, a closed tab
 * or a full disk cuts short leaves no trace; every browser has it, also outside Workers, where the file system of the origin cannot be
 * written everywhere. An entry is two responses: the bytes, and a record of their size and the SHA-256 of every block, written last. Blocks are
 * checked before they are handed out: what a disk has changed is never used.
 */
import { bodyPieces } from "../http.ts"
import { Sha256 } from "../sha256.ts"

/** Bytes that one digest is of. */
const blockBytes = 2 ** 22

/** What is known of a kept file. */
export interface Entry {
  /** The server's ETag, or its date of change. */
  tag: string
  bytes: number
  /** Of each block of `blockBytes`, the last one shorter; lowercase hex. */
  digests: string[]
}

/** The kept bytes are not those that were stored. */
export class Damaged extends Error {}

/** Cache Storage, by what is used of it. */
interface Store {
  match(key: string): Promise<Response | undefined>
  put(key: string, response: Response): Promise<void>
  delete(key: string): Promise<boolean>
}
interface Stores {
  open(name: string): Promise<Store>
}

async function digest(block: Uint8Array<ArrayBuffer>): Promise<string> {
  const { subtle } = globalThis.crypto
  if (subtle === undefined) return new Sha256().update(block).hex()
  return Array.from(new Uint8Array(await subtle.digest("SHA-256", block)), (byte) => byte.toString(16).padStart(2, "0")).join("")
}

/** Pieces cut into blocks. */
class Blocks {
  #block = new Uint8Array(blockBytes)
  #filled = 0;

  /** Copies from the piece; what it fills is handed over. */
  *add(piece: Uint8Array): Generator<Uint8Array<ArrayBuffer>> {
    for (let at = 0; at < piece.length; ) {
      const part = piece.subarray(at, at + blockBytes - this.#filled)
      this.#block.set(part, this.#filled)
      this.#filled += part.length
      at += part.length
      if (this.#filled === blockBytes) yield* this.rest()
    }
  }

  /** The last block, if anything is left for it. */
  *rest(): Generator<Uint8Array<ArrayBuffer>> {
    if (this.#filled === 0) return
    const block = this.#filled === blockBytes ? this.#block : this.#block.slice(0, this.#filled)
    this.#block = new Uint8Array(blockBytes)
    this.#filled = 0
    yield block
  }
}

/** Keys must be http addresses; a query of our own tells the two responses of a file apart, and from what else the page keeps. */
function keyOf(url: string, part: "bytes" | "entry"): string {
  const key = new URL(url)
  key.searchParams.set("statespace", part)
  return key.href
}

const isEntry = (value: unknown): value is Entry => {
  const { tag, bytes, digests } = (value ?? {}) as Partial<Entry>
  const count = Math.ceil((bytes ?? Number.NaN) / blockBytes)
  return typeof tag === "string" && Array.isArray(digests) && digests.length === count && digests.every((hex) => typeof hex === "string")
}

/** Where a file is written while it arrives. None of its methods throws: a cache that fails is one file less in it. */
export class CacheWriter {
  readonly #store: Store
  readonly #url: string
  readonly #tag: string
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>
  readonly #stored: Promise<boolean>
  readonly #digests: string[] = []
  readonly #blocks = new Blocks()
  #bytes = 0
  #failed = false

  constructor(store: Store, url: string, tag: string) {
    this.#store = store
    this.#url = url
    this.#tag = tag
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
    this.#writer = writable.getWriter()
    // `closed` and `put` reject together; the latter is asked.
    this.#writer.closed.catch(() => {})
    this.#stored = store.put(keyOf(url, "bytes"), new Response(readable)).then(
      () => true,
      () => {
        this.#failed = true
        return false
      },
    )
  }

  /** Copies the piece. Resolves once it is worth bringing the next one. */
  async push(piece: Uint8Array): Promise<void> {
    if (this.#failed) return
    for (const block of this.#blocks.add(piece)) await this.#keep(block)
  }

  async #keep(block: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#bytes += block.length
    try {
      this.#digests.push(await digest(block))
      // A full disk makes `put` give up, which a write might never hear of.
      await Promise.race([this.#writer.write(block), this.#stored])
    } catch {
      this.#failed = true
    }
  }

  /** All bytes are there. */
  async commit(): Promise<void> {
    for (const block of this.#blocks.rest()) await this.#keep(block)
    try {
      await Promise.race([this.#writer.close(), this.#stored])
      if (!(await this.#stored) || this.#failed) return
      const entry: Entry = { tag: this.#tag, bytes: this.#bytes, digests: this.#digests }
      await this.#store.put(keyOf(this.#url, "entry"), new Response(JSON.stringify(entry)))
    } catch {
      this.#failed = true
    }
  }

  async abort(): Promise<void> {
    await this.#writer.abort().catch(() => {})
    await this.#stored
  }
}

export class WebCache {
  readonly #store: Store

  private constructor(store: Store) {
    this.#store = store
  }

  /** Undefined where there is none: an insecure page, a private window, cookies switched off. */
  static async open(name: string): Promise<WebCache | undefined> {
    try {
      const stores = (globalThis as { caches?: Stores }).caches
      return stores === undefined ? undefined : new WebCache(await stores.open(name))
    } catch {
      return undefined
    }
  }

  async find(url: string): Promise<Entry | undefined> {
    try {
      const entry: unknown = await (await this.#store.match(keyOf(url, "entry")))?.json()
      return isEntry(entry) ? entry : undefined
    } catch {
      return undefined
    }
  }

  /** The kept bytes, block by block. Throws Damaged at the first block that is not what was stored. */
  async *read(url: string, { bytes, digests }: Entry): AsyncGenerator<Uint8Array> {
    const response = await this.#store.match(keyOf(url, "bytes")).catch(() => undefined)
    if (response === undefined) throw new Damaged("gone")
    const cut = new Blocks()
    let count = 0
    let total = 0
    const check = async (block: Uint8Array<ArrayBuffer>): Promise<Uint8Array> => {
      total += block.length
      if (total > bytes || (await digest(block)) !== digests[count++]) throw new Damaged("changed")
      return block
    }
    const pieces = bodyPieces(response)
    try {
      for (;;) {
        const next = await pieces.next().catch((cause: unknown) => {
          throw new Damaged("unreadable", { cause })
        })
        if (next.done === true) break
        for (const block of cut.add(next.value)) yield await check(block)
      }
      for (const block of cut.rest()) yield await check(block)
      if (total !== bytes) throw new Damaged("cut short")
    } finally {
      await pieces.return(undefined)
    }
  }

  /** Starts to keep a file; what was kept of it before is void. */
  async write(url: string, tag: string): Promise<CacheWriter> {
    await this.drop(url)
    return new CacheWriter(this.#store, url, tag)
  }

  async drop(url: string): Promise<void> {
    for (const part of ["entry", "bytes"] as const) await this.#store.delete(keyOf(url, part)).catch(() => false)
  }
}
