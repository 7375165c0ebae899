/** What the two sides of a Worker say to each other, and errors in a form that survives structured cloning, which drops their class and fields. */
import * as errors from "../../errors.ts"
import type { EngineInfo, TensorSource } from "../interface.ts"
import type { Artefact } from "./shell.ts"

/** A file of `weights`: its bytes, or a stream whose pieces follow in messages of their own. */
export type SentFile = Uint8Array | { bytes: number; stream: number }

export type Call =
  | { verb: "weights"; files: SentFile[]; tensors: TensorSource[] }
  | { verb: "run"; program: number; state: number | null; steps: number; flag: Int32Array | undefined }
  /** Reads a checkpoint, which is a reading of this call's number from then on. */
  | { verb: "hold"; request: object }
  | { verb: "bring"; reading: number; tensors: readonly TensorSource[] }
  | { verb: "encodeFor"; reading: number; text: string }
  | { verb: "tokenizer"; json: object; config: object }
  | { verb: "encode"; tokenizer: number; text: string }
  | { verb: "firstNonFinite" | "load" | "state" | "copyState" | "read" | "write" | "release" | "dispose"; args: readonly unknown[] }

/** One end of a channel between two Workers. */
export interface Peer {
  postMessage(message: Pool): void
  onmessage: ((event: { data: Pool }) => void) | null
  close(): void
}
/** Where helper threads find their engine. It goes past the page, which would keep the memory for as long as it collects no garbage. */
export interface Pool {
  memory: object
  pool: number
}

export type ToWorker =
  /** Makes the Worker an engine, whose helper threads hear from it along `helpers`. */
  | { open: Artefact; options: string; helpers: Peer[] }
  /** Makes the Worker a helper thread. */
  | { help: Artefact; part: number; from: Peer }
  | { id: number; call: Call }
  /** Of a run, or of a reading with all that it brings. */
  | { abort: number }
  | { answers: number; value: unknown }
  /** The next piece of a stream, its end, or that it failed. */
  | { stream: number; piece: Uint8Array | "end" | "failure" }

export type FromWorker =
  /** The first message of either kind of Worker. */
  | { opened: EngineInfo }
  | { helps: number }
  | { refused: SentError }
  /** `info` where it may have changed. */
  | { id: number; value: unknown; info: EngineInfo | undefined }
  | { id: number; error: SentError; info: EngineInfo | undefined }
  /** Of a reading, to its page; with a number where an answer is wanted. */
  | { of: number; asks: number | undefined; verb: string; args: readonly unknown[] }
  /** A piece of the stream has reached its place. */
  | { taken: number }

export interface SentError {
  type: string
  message: string
  fields: Record<string, unknown>
  cause: SentError | undefined
}

type Maker = new (code: string, message: string, options: errors.ErrorOptions) => errors.StatespaceError

export function packError(error: unknown): SentError {
  const { name, message, cause } = error instanceof Error ? error : new Error(String(error))
  const sent: SentError = { type: name, message, fields: {}, cause: cause === undefined ? undefined : packError(cause) }
  if (!(error instanceof errors.StatespaceError)) return sent
  const { name: _name, stack: _stack, cause: _cause, message: _message, ...fields } = error
  // The constructor puts the way out behind the message.
  return { ...sent, message: message.slice(0, -error.fix.length - 1), fields }
}

export function unpackError({ type, message, fields, cause }: SentError): Error {
  const inner = cause && unpackError(cause)
  const { code, ...rest } = fields
  if (typeof code !== "string") {
    const error = new Error(message, inner && { cause: inner })
    error.name = type
    return error
  }
  const Type = (errors as unknown as Record<string, Maker>)[type] ?? errors.StatespaceError
  return new Type(code, message, { ...(rest as { fix: string }), cause: inner })
}
