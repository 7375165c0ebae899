/** Stop strings and the text of pieces. */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { StopText } from "../../ts/run/text.ts"

/** A tokenizer whose ids are UTF-16 units of given texts. */
const stream = (texts: readonly string[], rest = "") => ({ push: (id: number) => texts[id] as string, flush: () => rest })

function run(texts: readonly string[], stops: readonly string[], rest = ""): { pieces: string[]; stoppedAt: number } {
  const text = new StopText(stream(texts, rest), stops)
  const pieces: string[] = []
  for (let id = 0; id < texts.length; id++) {
    const { text: piece, stopped } = text.push(id)
    pieces.push(piece)
    if (stopped) return { pieces, stoppedAt: id }
  }
  const last = text.end()
  pieces.push(last.text)
  return { pieces, stoppedAt: last.stopped ? texts.length : -1 }
}

describe("stop strings", () => {
  test("that span pieces never show, not even in part", () => {
    expect(run(["ab", "c<", "e", "nd", ">x"], ["<end>"])).toEqual({ pieces: ["ab", "c", "", "", ""], stoppedAt: 4 })
  })
  test("what only looked like one appears once that is certain", () => {
    expect(run(["a<", "e", "x", "y"], ["<end>"])).toEqual({ pieces: ["a", "", "<ex", "y", ""], stoppedAt: -1 })
  })
  test("the earliest match wins", () => {
    expect(run(["one two three"], ["three", "two"]).pieces).toEqual(["one "])
  })
  test("what is held back at the end is shown", () => {
    expect(run(["a<en"], ["<end>"], "!").pieces).toEqual(["a", "<en!"])
  })
  test("overlapping beginnings", () => {
    expect(run(["aaa", "ab"], ["aab"])).toEqual({ pieces: ["a", "a"], stoppedAt: 1 })
  })
  test("no tokenizer, no text", () => {
    const text = new StopText(undefined, [])
    expect([text.push(3), text.end()]).toEqual([
      { text: "", stopped: false },
      { text: "", stopped: false },
    ])
  })
  test("for all texts: pieces joined are the text up to the first stop string, which no piece touches", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(fc.array(letters, { maxLength: 12 }), fc.array(letters, { minLength: 1, maxLength: 3 }), (texts, stops) => {
        const whole = texts.join("")
        // A stop string ends the text when its last character arrives; of those that arrive in one token the earliest counts.
        let upTo = whole.length
        let so = ""
        for (const text of texts) {
          so += text
          const found = stops.map((stop) => so.indexOf(stop)).filter((at) => at >= 0)
          if (found.length === 0) continue
          upTo = Math.min(...found)
          break
        }
        expect(run(texts, stops).pieces.join("")).toBe(whole.slice(0, upTo))
      }),
      { numRuns: 300 },
    )
  })
})
