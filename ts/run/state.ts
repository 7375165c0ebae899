/** Snapshots: a session as a safetensors file, as `spec/state.md` defines it, and nothing of how an engine lays it out. */
import { StateError } from "../errors.ts"
import { decodeSafetensors, encodeSafetensors, type TensorData } from "../io/safetensors.ts"
import type { LanguageModel } from "../models/family.ts"
import { allFinite, asBytes, asFloats, swapped } from "./numbers.ts"
import { version } from "./version.ts"

const format = "statespace-state/1"

export interface Snapshot {
  /** Tokens that went through the model. */
  fed: number
  pending: number | undefined
  rng: { seed: bigint; counter: bigint } | undefined
  seen: Uint8Array | undefined
  logits: Float32Array | undefined
  /** f32 bytes of each of the model's state tensors, in the engine's order of axes. */
  layers: Uint8Array[]
}

/** Swaps the two axes of f32 [rows, columns]. */
const turned = (bytes: Uint8Array, [rows, columns]: readonly [number, number]): Uint8Array =>
  asBytes(swapped(asFloats(bytes), 1, rows, columns))

export function writeSnapshot(snapshot: Snapshot, model: LanguageModel, fingerprint: string): Uint8Array {
  const tensors = new Map<string, TensorData>()
  model.state.forEach(({ name, shape, external }, i) => {
    tensors.set(name, { dtype: "f32", shape: [...external], data: turned(snapshot.layers[i] as Uint8Array, shape) })
  })
  const { seen, logits } = snapshot
  if (seen?.some((byte) => byte !== 0))
    tensors.set("seen", { dtype: "u8", shape: [seenBytes(model)], data: seen.subarray(0, seenBytes(model)) })
  if (logits !== undefined) {
    tensors.set("logits", {
      dtype: "f32",
      shape: [model.vocabSize],
      data: new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength),
    })
  }
  return encodeSafetensors(tensors, {
    format,
    family: model.family,
    model: fingerprint,
    tokens: String(snapshot.fed),
    pending: snapshot.pending === undefined ? "" : String(snapshot.pending),
    rng: snapshot.rng === undefined ? "" : `${snapshot.rng.seed}:${snapshot.rng.counter}`,
    writer: `statespace ${version}`,
  })
}

const seenBytes = (model: LanguageModel): number => Math.ceil(model.vocabSize / 8)

const again = "Make a new snapshot with session.save()."

function damaged(reason: string, cause?: unknown): StateError {
  return new StateError("STATE_DAMAGED", `The snapshot is damaged: ${reason}.`, { fix: again, cause })
}

/** Throws StateError unless the bytes are an intact snapshot of this very model. */
export function readSnapshot(bytes: Uint8Array, model: LanguageModel, fingerprint: string): Snapshot {
  if (!(bytes instanceof Uint8Array))
    throw new StateError("STATE_INVALID", "A snapshot is a Uint8Array.", { fix: "Give the bytes that session.save() returned." })
  const { tensors, metadata } = decoded(bytes)
  checkOrigin(metadata, model, fingerprint)
  const fed = wholeNumber(metadata.tokens, "tokens")
  const pending = metadata.pending === "" ? undefined : wholeNumber(metadata.pending, "pending")
  if (pending !== undefined && pending >= model.vocabSize) throw damaged(`pending token ${pending} is not in the vocabulary`)
  const layers = model.state.map(({ name, external }) => turned(take(tensors, name, "f32", external) ?? missing(name), external))
  const seen = take(tensors, "seen", "u8", [seenBytes(model)])?.slice()
  const logits = take(tensors, "logits", "f32", [model.vocabSize])
  const [extra] = tensors.keys()
  if (extra !== undefined) throw damaged(`tensor ${JSON.stringify(extra)} is not part of ${model.family}`)
  if (pending === undefined && logits === undefined && fed > 0) throw damaged("it holds neither a pending token nor logits")
  return { fed, pending, rng: parseRng(metadata.rng), seen, logits: logits && asFloats(logits).slice(), layers }
}

function decoded(bytes: Uint8Array): ReturnType<typeof decodeSafetensors> {
  try {
    return decodeSafetensors(bytes, "snapshot")
  } catch (cause) {
    throw damaged(cause instanceof Error ? cause.message : "unreadable", cause)
  }
}

function checkOrigin(metadata: Readonly<Record<string, string>>, model: LanguageModel, fingerprint: string): void {
  const found = metadata.format ?? ""
  if (!found.startsWith("statespace-state/")) {
    throw new StateError("STATE_INVALID", "This safetensors file is not a snapshot of a session.", {
      fix: "Give the bytes that session.save() returned.",
    })
  }
  if (found !== format) {
    throw new StateError("STATE_NEWER", `The snapshot has the newer format ${found}; this release reads ${format}.`, {
      fix: "Update statespace.",
    })
  }
  if (metadata.model !== fingerprint) {
    const other = `${metadata.family ?? "unknown"} model ${metadata.model ?? "unknown"}`
    throw new StateError("STATE_FOREIGN", `The snapshot belongs to the ${other}; this is the ${model.family} model ${fingerprint}.`, {
      fix: "Load the checkpoint that it was made with.",
    })
  }
}

function wholeNumber(text: string | undefined, name: string): number {
  const value = /^\d{1,16}$/.test(text ?? "") ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw damaged(`its ${name} is ${JSON.stringify(text)}`)
  return value
}

function parseRng(text: string | undefined): Snapshot["rng"] {
  if (text === "") return undefined
  const match = /^(\d{1,20}):(\d{1,20})$/.exec(text ?? "")
  const [seed, counter] = [BigInt(match?.[1] ?? -1), BigInt(match?.[2] ?? -1)]
  if (match === null || seed >= 1n << 64n || counter >= 1n << 64n) throw damaged(`its rng is ${JSON.stringify(text)}`)
  return { seed, counter }
}

function missing(name: string): never {
  throw damaged(`tensor ${name} is missing`)
}

/** Removes a tensor from the map and returns its bytes, or undefined when it is not there. */
function take(tensors: Map<string, TensorData>, name: string, dtype: "f32" | "u8", shape: readonly number[]): Uint8Array | undefined {
  const tensor = tensors.get(name)
  if (tensor === undefined) return undefined
  tensors.delete(name)
  if (tensor.dtype !== dtype || tensor.shape.length !== shape.length || tensor.shape.some((size, axis) => size !== shape[axis])) {
    throw damaged(`tensor ${name} is ${tensor.dtype} [${tensor.shape}]; expected ${dtype} [${shape}]`)
  }
  if (dtype === "f32" && !allFinite(asFloats(tensor.data))) throw damaged(`tensor ${name} holds a NaN or an infinity`)
  return tensor.data
}
