/**
 * Downloads that a browser keeps, in its Cache Storage: every browser has it, outside of Workers too, where the file system of the origin
 * cannot be written everywhere, and it is as fast. A file is kept in blocks, since one entry has limits of its own (a private window of
 * Chromium stores none of 256 MB), and a record of its size and of each block's SHA-256, which is written last: without it there is no file.
 * Blocks are checked before they are handed out: what a disk has changed is never used.
 */
import { joined } from "../bytes.ts"
import { Sha256 } from "../sha256.ts"
import { Backlog } from "./backlog.ts"

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

/** A file on its way into a cache. None of its methods throws. */
export interface Keeping {
  /** Takes the piece for good. Resolves at once unless too many bytes wait to be written. */
  push(piece: Uint8Array): Promise<void>
  /** All bytes are there. */
  commit(): void
  /** Leaves nothing of the file behind. */
  abort(): void
}
/** Who writes a cache: of a page one for all of its loads, whichever thread brings the bytes. */
export interface Keeper {
  /** Resolves when the cache says of a file what its writer knows: that it is complete, given up, or gone. Rejects with the signal's reason. */
  settled(url: string, signal?: AbortSignal): Promise<void>
  /** Starts to keep a file; what was kept of it before is void. Undefined while another load is keeping it: one is enough. */
  write(url: string, tag: string): Keeping | undefined
  drop(url: string): void
}

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

async function digest(block: Uint8Array): Promise<string> {
  const { subtle } = globalThis.crypto
  if (subtle === undefined) return new Sha256().update(block).hex()
  return Array.from(new Uint8Array(await subtle.digest("SHA-256", block as Uint8Array<ArrayBuffer>)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("")
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

/**
 * Takes a file while it arrives, and writes it when that is in nobody's way. A cache that fails is one file less in it. Another tab may write
 * the same file at once and replace or remove blocks below this record: they then do not have the digests it says, and the file is fetched
 * again.
 */
export class CacheWriter implements Keeping {
  readonly #store: Store
  readonly #url: string
  readonly #tag: string
  readonly #backlog: Backlog
  readonly #file: string
  readonly #digests: string[] = []
  /** Of the block that is not full yet. */
  #parts: Uint8Array[] = []
  #filled = 0
  #blocks = 0
  #bytes = 0
  #failed = false

  constructor(store: Store, url: string, tag: string, backlog: Backlog, file: string) {
    this.#store = store
    this.#url = url
    this.#tag = tag
    this.#backlog = backlog
    this.#file = file
    // What was kept before is void, also the blocks of one that a closed tab never finished.
    void backlog.add(0, () => drop(store, url))
  }

  async push(piece: Uint8Array): Promise<void> {
    for (let at = 0; at < piece.length && !this.#failed; ) {
      const part = piece.subarray(at, at + blockBytes - this.#filled)
      this.#parts.push(part)
      this.#filled += part.length
      at += part.length
      if (this.#filled === blockBytes) this.#keep()
    }
    await this.#backlog.room()
  }

  #keep(): void {
    const [parts, bytes, number] = [this.#parts, this.#filled, this.#blocks++]
    this.#parts = []
    this.#filled = 0
    this.#bytes += bytes
    void this.#backlog.add(bytes, () =>
      this.#unlessFailed(async () => {
        const block = joined(parts, Uint8Array)
        this.#digests.push(await digest(block))
        // From a Blob the browser takes the bytes without reading a stream in this thread.
        await this.#store.put(keyOf(this.#url, number), new Response(new Blob([block as Uint8Array<ArrayBuffer>])))
      }),
    )
  }

  async #unlessFailed(step: () => Promise<void>): Promise<void> {
    if (this.#failed) return
    try {
      await step()
    } catch {
      this.#failed = true
      await drop(this.#store, this.#url)
    }
  }

  commit(): void {
    if (this.#filled > 0 && !this.#failed) this.#keep()
    const record = async (): Promise<void> => {
      const entry: Entry = { tag: this.#tag, bytes: this.#bytes, digests: this.#digests }
      await this.#store.put(keyOf(this.#url, "entry"), new Response(JSON.stringify(entry)))
    }
    this.#backlog.end(this.#file, () => this.#unlessFailed(record))
  }

  /** What waits is not written, and what is written goes once the block under way is there. */
  abort(): void {
    this.#failed = true
    this.#backlog.end(this.#file, () => drop(this.#store, this.#url), 0)
  }
}

/** Removes a file, as far as there is one. */
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

/** Of the page: whichever load asks, there is one Cache Storage. */
const pageBacklog = new Backlog()

class LocalKeeper implements Keeper {
  readonly #name: string
  readonly #store: Store
  readonly #backlog: Backlog

  constructor(name: string, store: Store, backlog: Backlog) {
    this.#name = name
    this.#store = store
    this.#backlog = backlog
  }

  settled(url: string, signal?: AbortSignal): Promise<void> {
    return this.#backlog.settled(this.#file(url), signal)
  }

  write(url: string, tag: string): CacheWriter | undefined {
    const file = this.#file(url)
    return this.#backlog.begin(file) ? new CacheWriter(this.#store, url, tag, this.#backlog, file) : undefined
  }

  drop(url: string): void {
    const file = this.#file(url)
    // Whoever is writing it has removed it first.
    if (this.#backlog.begin(file)) this.#backlog.end(file, () => drop(this.#store, url), 0)
  }

  #file(url: string): string {
    return `${this.#name} ${url}`
  }
}

export class WebCache {
  readonly #store: Store
  readonly keeper: Keeper

  private constructor(store: Store, keeper: Keeper) {
    this.#store = store
    this.keeper = keeper
  }

  /**
   * Undefined where there is none: an insecure page, a private window, cookies switched off. It is written in this thread, or by a keeper
   * elsewhere.
   */
  static async open(name: string, writer: Backlog | Keeper = pageBacklog): Promise<WebCache | undefined> {
    try {
      const stores = (globalThis as { caches?: Stores }).caches
      if (stores === undefined) return undefined
      const store = await stores.open(name)
      return new WebCache(store, writer instanceof Backlog ? new LocalKeeper(name, store, writer) : writer)
    } catch {
      return undefined
    }
  }

  /** What is kept of a file; while it is still written, once that is done. Rejects with the signal's reason alone. */
  async find(url: string, signal?: AbortSignal): Promise<Entry | undefined> {
    await this.keeper.settled(url, signal)
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
}
