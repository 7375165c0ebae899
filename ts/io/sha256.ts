/**
 * SHA-256 (FIPS 180-4), a piece at a time. The browser's own takes the whole message at once, only asynchronously, and only on secure
 * pages; weights arrive in pieces, and a snapshot wants its model's fingerprint at once.
 */

/** First 32 bits of the fractional parts of a root of each of the first primes. */
function rootsOfPrimes(count: number, root: (x: number) => number): Int32Array {
  const out = new Int32Array(count)
  for (let n = 0, candidate = 2; n < count; candidate++) {
    let prime = true
    for (let d = 2; d * d <= candidate; d++) if (candidate % d === 0) prime = false
    if (prime) out[n++] = ((root(candidate) % 1) * 2 ** 32) | 0
  }
  return out
}
const rounds = rootsOfPrimes(64, Math.cbrt)
const start = rootsOfPrimes(8, Math.sqrt)

const utf8 = new TextEncoder()

export class Sha256 {
  readonly #state: Int32Array = start.slice()
  readonly #words = new Int32Array(64)
  /** The block that is not full yet. */
  readonly #block = new Uint8Array(64)
  #held = 0
  #length = 0

  update(data: Uint8Array | string): this {
    const bytes = typeof data === "string" ? utf8.encode(data) : data
    this.#length += bytes.length
    let at = 0
    if (this.#held > 0) {
      at = Math.min(64 - this.#held, bytes.length)
      this.#block.set(bytes.subarray(0, at), this.#held)
      this.#held += at
      if (this.#held < 64) return this
      this.#mix(this.#block, 0)
    }
    for (; at + 64 <= bytes.length; at += 64) this.#mix(bytes, at)
    this.#block.set(bytes.subarray(at))
    this.#held = bytes.length - at
    return this
  }

  /** Lowercase hex. Nothing can be added afterwards. */
  hex(): string {
    const bits = this.#length * 8
    const end = new Uint8Array(this.#held < 56 ? 64 - this.#held : 128 - this.#held)
    end[0] = 0x80
    const view = new DataView(end.buffer)
    view.setUint32(end.length - 8, Math.floor(bits / 2 ** 32))
    view.setUint32(end.length - 4, bits >>> 0)
    this.update(end)
    return Array.from(this.#state, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("")
  }

  #mix(bytes: Uint8Array, at: number): void {
    const w = this.#words
    for (let i = 0, j = at; i < 16; i++, j += 4) {
      w[i] = ((bytes[j] as number) << 24) | ((bytes[j + 1] as number) << 16) | ((bytes[j + 2] as number) << 8) | (bytes[j + 3] as number)
    }
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15] as number
      const y = w[i - 2] as number
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3)
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10)
      w[i] = ((w[i - 16] as number) + s0 + (w[i - 7] as number) + s1) | 0
    }
    const s = this.#state
    // One by one: an iterator for every 64 bytes takes longer than the hash.
    let a = s[0] as number
    let b = s[1] as number
    let c = s[2] as number
    let d = s[3] as number
    let e = s[4] as number
    let f = s[5] as number
    let g = s[6] as number
    let h = s[7] as number
    for (let i = 0; i < 64; i++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7))
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + (rounds[i] as number) + (w[i] as number)) | 0
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0
      h = g
      g = f
      f = e
      e = (d + t1) | 0
      d = c
      c = b
      b = a
      a = (t1 + t2) | 0
    }
    s[0] = (s[0] as number) + a
    s[1] = (s[1] as number) + b
    s[2] = (s[2] as number) + c
    s[3] = (s[3] as number) + d
    s[4] = (s[4] as number) + e
    s[5] = (s[5] as number) + f
    s[6] = (s[6] as number) + g
    s[7] = (s[7] as number) + h
  }
}
