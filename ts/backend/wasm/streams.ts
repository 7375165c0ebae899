/** Files on their way into an engine's memory. */
import { CheckpointError } from "../../errors.ts"
import type { FileStream } from "../interface.ts"

/** Pieces of a file, and a refusal when they are more or fewer bytes than it was said to have. */
export async function* pieces({ bytes, open }: FileStream): AsyncGenerator<Uint8Array, void, undefined> {
  const wrong = (found: string): CheckpointError =>
    new CheckpointError("CHECKPOINT_READ", `A file of ${bytes} bytes was announced, but ${found} came.`, {
      fix: "Load it again; it changed or was cut off on the way.",
    })
  let count = 0
  for await (const piece of open()) {
    count += piece.length
    if (count > bytes) throw wrong("more")
    yield piece
  }
  if (count < bytes) throw wrong(`only ${count}`)
}

/** A stream whose pieces are delivered one by one; `taken` is called as the reader is done with each. */
export class Mailbox {
  readonly #taken: () => void
  readonly #waiting: (Uint8Array | "end" | "failure")[] = []
  #wake: (() => void) | undefined

  constructor(taken: () => void) {
    this.#taken = taken
  }

  deliver(piece: Uint8Array | "end" | "failure"): void {
    this.#waiting.push(piece)
    this.#wake?.()
  }

  async *open(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const piece = this.#waiting.shift()
      if (piece === "end") return
      if (piece === "failure") throw new Error("the stream failed where it comes from")
      if (piece === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      } else {
        yield piece
        this.#taken()
      }
    }
  }
}

/** Pieces that may be under way at once. */
export class Credit {
  #free: number
  #wake: (() => void) | undefined

  constructor(free: number) {
    this.#free = free
  }

  async take(): Promise<void> {
    while (this.#free === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    this.#free--
  }

  give(): void {
    this.#free++
    this.#wake?.()
  }
}
