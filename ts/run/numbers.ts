/** Numbers and the bytes that cross the seam. */

/** Views bytes as numbers; copies only when they are misaligned. */
function words<T>(bytes: Uint8Array, make: new (buffer: ArrayBufferLike, offset: number, length: number) => T): T {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice()
  return new make(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4)
}
export const asFloats = (bytes: Uint8Array): Float32Array => words(bytes, Float32Array)
export const asInts = (bytes: Uint8Array): Int32Array => words(bytes, Int32Array)
export const asBytes = (array: Float32Array | Int32Array | Uint32Array | Uint16Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength)

/** Without a callback for each number: a state has millions. */
export function allFinite(values: Float32Array): boolean {
  let zero = 0
  // x − x is 0, or NaN for what is not finite.
  for (let i = 0; i < values.length; i++) zero += (values[i] as number) - (values[i] as number)
  return zero === 0
}

/** Swaps the last two axes of [count, rows, columns]. */
export function swapped(values: Float32Array, count: number, rows: number, columns: number): Float32Array {
  const out = new Float32Array(values.length)
  // In strips, so that what is written stays in the cache until its line is full.
  const strip = 16
  for (let i = 0; i < count; i++) {
    const at = i * rows * columns
    for (let r0 = 0; r0 < rows; r0 += strip) {
      const end = Math.min(r0 + strip, rows)
      for (let c = 0; c < columns; c++) {
        for (let r = r0; r < end; r++) out[at + c * rows + r] = values[at + r * columns + c] as number
      }
    }
  }
  return out
}
