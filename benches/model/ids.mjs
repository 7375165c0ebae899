// @ts-check

/** Token ids that every engine under test is given. @param {number} n @param {number} seed */
export function tokenIds(n, seed) {
  let s = seed
  return Array.from({ length: n }, () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0
    return 300 + Math.floor((s / 4294967296) * 49000)
  })
}
