/** What commands share of the process around them: output, progress, input, interruption. */
import { readFileSync } from "node:fs"
import type { LoadOptions, Model } from "../index.ts"
import type { Flags } from "./flags.ts"

/** Output of one command. Answers go to stdout; progress and notes go to stderr, and only when that is a terminal. */
export class Terminal {
  readonly json: boolean
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
  readonly #start: number = performance.now()
  #shown = 0

  constructor(json: boolean, signal: AbortSignal) {
    this.json = json
    this.signal = signal
  }

  write(text: string): void {
    this.#clear()
    process.stdout.write(text)
  }

  line(text: string): void {
    this.write(`${text}\n`)
  }

  /** One line of JSON. NaN and infinities, which JSON lacks, become null. */
  record(value: object): void {
    this.line(
      JSON.stringify(value, (_key, item) =>
        typeof item === "bigint" ? item.toString() : ArrayBuffer.isView(item) ? [...(item as Float32Array)] : item,
      ),
    )
  }

  /** A table of names and values, aligned. */
  table(rows: readonly (readonly [name: string, value: string])[]): void {
    const width = Math.max(...rows.map(([name]) => name.length))
    for (const [name, value] of rows) this.line(`${name.padEnd(width)}  ${value}`)
  }

  note(text: string): void {
    if (!process.stderr.isTTY) return
    this.#clear()
    process.stderr.write(`${dim(text, process.stderr)}\n`)
  }

  /** For `onProgress`. Work that ends within .3 s shows nothing. */
  readonly progress = ({ phase, file, loaded, total }: { phase: string; file?: string; loaded: number; total?: number }): void => {
    const now = performance.now()
    if (!process.stderr.isTTY || now - this.#start < 300 || now - this.#shown < 100) return
    this.#shown = now
    const share = total ? `${Math.floor((100 * loaded) / total)} %` : loaded.toLocaleString("en")
    process.stderr.write(`\r\x1b[K${[phase, file, share].filter(Boolean).join(" ")}`)
  }

  #clear(): void {
    if (this.#shown > 0) process.stderr.write("\r\x1b[K")
    this.#shown = 0
  }
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}

/** Faint text where the stream shows it and the reader wants it (https://no-color.org). */
export function dim(text: string, stream: { isTTY?: boolean }): string {
  return stream.isTTY && !process.env.NO_COLOR ? `\x1b[2m${text}\x1b[22m` : text
}

/** Loads the model that the flags name, hands it over, and disposes it however the work ends. */
export async function withModel(flags: Flags, terminal: Terminal, body: (model: Model) => Promise<void>): Promise<void> {
  const { load } = await import("../index.ts")
  const { model: source, backend, threads, compute } = flags
  const options = { backend, threads, compute, signal: terminal.signal, onProgress: terminal.progress } as LoadOptions
  const model = await load(source as string | undefined, options)
  try {
    await body(model)
  } finally {
    await model.dispose()
  }
}

/** Text of a file, or of standard input for `-`. */
export function readText(path: string): string {
  try {
    return readFileSync(path === "-" ? 0 : path, "utf8")
  } catch (error) {
    throw new Error(`${path === "-" ? "Standard input" : path} cannot be read: ${(error as Error).message}.`)
  }
}
