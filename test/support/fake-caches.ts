/** Cache Storage for tests: a `put` stores the whole body or, when that breaks, nothing, as browsers do. */
export interface FakeCaches {
  open(name: string): Promise<FakeCache>
  /** What is kept, by cache and key. */
  readonly kept: Map<string, Map<string, Uint8Array>>
  /** Bytes that one entry may have. */
  room: number
  /** Keys in the order in which their writing began. */
  readonly begun: string[]
  /** What a `put` waits for before it stores anything. */
  gate: () => Promise<void>
}
interface FakeCache {
  match(key: string): Promise<Response | undefined>
  put(key: string, response: Response): Promise<void>
  delete(key: string): Promise<boolean>
  keys(): Promise<{ url: string }[]>
}

export function fakeCaches(): FakeCaches {
  const kept: FakeCaches["kept"] = new Map()
  const caches: FakeCaches = {
    kept,
    room: Number.POSITIVE_INFINITY,
    begun: [],
    gate: async () => {},
    async open(name) {
      const entries = kept.get(name) ?? new Map<string, Uint8Array>()
      kept.set(name, entries)
      return {
        async match(key) {
          const bytes = entries.get(key)
          return bytes === undefined ? undefined : new Response(bytes.slice())
        },
        async put(key, response) {
          caches.begun.push(key)
          await caches.gate()
          const parts: Uint8Array[] = []
          let total = 0
          const reader = response.body?.getReader()
          for (;;) {
            const next = await reader?.read()
            if (next?.value === undefined) break
            parts.push(next.value)
            total += next.value.length
            if (total <= caches.room) continue
            await reader?.cancel()
            throw new DOMException("the disk is full", "QuotaExceededError")
          }
          entries.set(key, new Uint8Array(Buffer.concat(parts)))
        },
        delete: async (key) => entries.delete(key),
        keys: async () => [...entries.keys()].map((url) => ({ url })),
      }
    },
  }
  return caches
}
