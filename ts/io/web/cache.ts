/**
 * Downloads that a browser keeps, in its Cache Storage: every browser has it, outside of Workers too, where the file system of the origin
 * cannot be written everywhere, and it is as fast. A file is kept in blocks, since one entry has limits of its own (a private window of
 * Chromium stores none of 256 MB), and a record of its size and of each block's SHA-256, which is written last: without it there is no file.
 * Blocks are checked before they are handed out: what a disk has changed is never used.
 */
import { Sha256 } from "../sha256.ts"

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
  keys(): Promise<readonly { url: string }[]>
}
interface Stores {
  open(name: string): Promise<Store>
}

async function digest(block: Uint8Array<ArrayBuffer>): Promise<string> {
  const { subtle } = globalThis.crypto
  if (subtle === undefined) return new Sha256().update(block).hex()
  return Array.from(new Uint8Array(await subtle.digest("SHA-256", block)), (byte) => byte.toString(16).padStart(2, "0")).join("")
}

/** Keys must be http addresses; a query of our own tells the parts of a file apart, and from what else the page keeps. */
function keyOf(url: string, part: number | "entry"): string {
  const key = new URL(url)
  key.searchParams.set("statespace", String(part))
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
  readonly #digests: string[] = []
  #block = new Uint8Array(blockBytes)
  #filled = 0
  #bytes = 0
  #failed = false

  constructor(store: Store, url: string, tag: string) {
    this.#store = store
    this.#url = url
    this.#tag = tag
  }

  /** Copies the piece. Resolves once it is worth bringing the next one. */
  async push(piece: Uint8Array): Promise<void> {
    for (let at = 0; at < piece.length && !this.#failed; ) {
      const part = piece.subarray(at, at + blockBytes - this.#filled)
      this.#block.set(part, this.#filled)
      this.#filled += part.length
      at += part.length
      if (this.#filled === blockBytes) await this.#keep()
    }
  }

  async #keep(): Promise<void> {
    const block = this.#filled === blockBytes ? this.#block : this.#block.slice(0, this.#filled)
    this.#block = new Uint8Array(blockBytes)
    this.#filled = 0
    this.#bytes += block.length
    try {
      await this.#store.put(keyOf(this.#url, this.#digests.length), new Response(block))
      this.#digests.push(await digest(block))
    } catch {
      await this.abort()
    }
  }

  /** All bytes are there. */
  async commit(): Promise<void> {
    if (this.#filled > 0 && !this.#failed) await this.#keep()
    if (this.#failed) return
    try {
      const entry: Entry = { tag: this.#tag, bytes: this.#bytes, digests: this.#digests }
      await this.#store.put(keyOf(this.#url, "entry"), new Response(JSON.stringify(entry)))
    } catch {
      await this.abort()
    }
  }

  /** Leaves nothing of the file behind. */
  async abort(): Promise<void> {
    this.#failed = true
    await drop(this.#store, this.#url)
  }
}

/** Removes a file, also the blocks of one that a closed tab never finished. */
async function drop(store: Store, url: string): Promise<void> {
  const start = keyOf(url, 0).slice(0, -1)
  try {
    await store.delete(keyOf(url, "entry"))
    const parts = (await store.keys()).filter((key) => key.url.startsWith(start))
    await Promise.all(parts.map((key) => store.delete(key.url)))
  } catch {
    // A cache that cannot be written has nothing of ours either.
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
    for (const [i, hex] of digests.entries()) {
      const kept = await this.#store.match(keyOf(url, i)).catch(() => undefined)
      const block = new Uint8Array((await kept?.arrayBuffer().catch(() => undefined)) ?? new ArrayBuffer())
      const whole = block.length === Math.min(blockBytes, bytes - i * blockBytes)
      if (!whole || (await digest(block)) !== hex) throw new Damaged(`block ${i} is damaged`)
      yield block
    }
  }

  /** Starts to keep a file; what was kept of it before is void. */
  async write(url: string, tag: string): Promise<CacheWriter> {
    await this.drop(url)
    return new CacheWriter(this.#store, url, tag)
  }

  drop(url: string): Promise<void> {
    return drop(this.#store, url)
  }
}
