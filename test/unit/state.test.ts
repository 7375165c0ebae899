/** Snapshots: what is written, what is read back, and what is refused. */
import { describe, expect, test } from "vitest"
import { StateError } from "../../ts/errors.ts"
import { Edges } from "../../ts/io/edges.ts"
import { decodeSafetensors, encodeSafetensors, type TensorData } from "../../ts/io/safetensors.ts"
import type { LanguageModel } from "../../ts/models/family.ts"
import { modelFingerprint } from "../../ts/run/fingerprint.ts"
import { readSnapshot, type Snapshot, writeSnapshot } from "../../ts/run/state.ts"

const model = {
  family: "toy",
  vocabSize: 10,
  vocabRows: 16,
  fingerprint: { layers: 1, expand: 2 },
  state: [
    { name: "layers.0.conv", shape: [3, 2], external: [2, 3] },
    { name: "layers.0.ssm", shape: [2, 2], external: [2, 2] },
    { name: "layers.1.conv", shape: [0, 2], external: [2, 0] },
  ],
} as unknown as LanguageModel
const print = "f".repeat(64)
const f32 = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer)

const snapshot: Snapshot = {
  fed: 7,
  pending: 4,
  rng: { seed: (1n << 64n) - 1n, counter: 12n },
  seen: Uint8Array.of(0b10110, 1),
  logits: undefined,
  layers: [f32(1, 2, 3, 4, 5, 6), f32(7, 8, 9, 10), f32()],
}
const bytes = writeSnapshot(snapshot, model, print)

/** The snapshot with its parts changed. */
function forge(change: (tensors: Map<string, TensorData>, metadata: Record<string, string>) => void): Uint8Array {
  const { tensors, metadata } = decodeSafetensors(bytes, "snapshot")
  change(tensors, metadata)
  return encodeSafetensors(tensors, metadata)
}
function refusal(read: () => unknown): StateError {
  try {
    read()
  } catch (error) {
    if (error instanceof StateError) return error
    throw error
  }
  throw new Error("was accepted")
}

describe("a snapshot", () => {
  test("comes back as it was", () => {
    expect(readSnapshot(bytes, model, print)).toEqual(snapshot)
  })
  test("holds channels first, whatever the engine's order", () => {
    const { tensors, metadata } = decodeSafetensors(bytes, "snapshot")
    const conv = tensors.get("layers.0.conv") as TensorData
    expect(conv.shape).toEqual([2, 3])
    expect([...new Float32Array(conv.data.slice().buffer)]).toEqual([1, 3, 5, 2, 4, 6])
    expect(metadata).toMatchObject({
      format: "statespace-state/1",
      family: "toy",
      model: print,
      tokens: "7",
      pending: "4",
      rng: "18446744073709551615:12",
    })
  })
  test("with logits and nothing pending", () => {
    const rested = { ...snapshot, pending: undefined, rng: undefined, seen: undefined, logits: new Float32Array(10).fill(0.5) }
    expect(readSnapshot(writeSnapshot(rested, model, print), model, print)).toEqual(rested)
  })
})

describe("is refused", () => {
  test("cut off at every byte", () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(refusal(() => readSnapshot(bytes.slice(0, length), model, print)).code).toBe("STATE_DAMAGED")
    }
  })
  test("when it is no Uint8Array, or no snapshot", () => {
    expect(refusal(() => readSnapshot([1, 2] as unknown as Uint8Array, model, print)).code).toBe("STATE_INVALID")
    expect(refusal(() => readSnapshot(encodeSafetensors(new Map()), model, print)).code).toBe("STATE_INVALID")
  })
  test("when it is newer", () => {
    const newer = forge((_tensors, metadata) => {
      metadata.format = "statespace-state/2"
    })
    expect(refusal(() => readSnapshot(newer, model, print))).toMatchObject({
      code: "STATE_NEWER",
      message: expect.stringContaining("newer"),
    })
  })
  test("when it is another model's, naming both", () => {
    const error = refusal(() => readSnapshot(bytes, model, "0".repeat(64)))
    expect(error.code).toBe("STATE_FOREIGN")
    expect(error.message).toContain(print)
    expect(error.message).toContain("0".repeat(64))
  })
  test.each<[string, (tensors: Map<string, TensorData>, metadata: Record<string, string>) => void, RegExp]>([
    ["without a tensor", (tensors) => tensors.delete("layers.0.ssm"), /layers.0.ssm is missing/],
    ["with one too many", (tensors) => tensors.set("layers.9.ssm", { dtype: "f32", shape: [1], data: f32(1) }), /layers.9.ssm/],
    [
      "misshapen",
      (tensors) => tensors.set("layers.0.conv", { dtype: "f32", shape: [3, 2], data: f32(1, 2, 3, 4, 5, 6) }),
      /\[3,2\].*\[2,3\]/,
    ],
    ["of another dtype", (tensors) => tensors.set("layers.0.ssm", { dtype: "i32", shape: [2, 2], data: f32(1, 2, 3, 4) }), /i32/],
    ["with a NaN", (tensors) => tensors.set("layers.0.ssm", { dtype: "f32", shape: [2, 2], data: f32(1, Number.NaN, 3, 4) }), /NaN/],
    [
      "with an infinity",
      (tensors) => tensors.set("layers.0.ssm", { dtype: "f32", shape: [2, 2], data: f32(1, Number.POSITIVE_INFINITY, 3, 4) }),
      /infinity/,
    ],
    ["with a pending token outside the vocabulary", (_tensors, metadata) => Object.assign(metadata, { pending: "10" }), /pending/],
    ["with a negative count", (_tensors, metadata) => Object.assign(metadata, { tokens: "-1" }), /tokens/],
    ["without a count", (_tensors, metadata) => delete metadata.tokens, /tokens/],
    ["with a broken rng", (_tensors, metadata) => Object.assign(metadata, { rng: "1" }), /rng/],
    ["with a seed of 65 bits", (_tensors, metadata) => Object.assign(metadata, { rng: `${1n << 64n}:0` }), /rng/],
    ["with neither pending token nor logits", (_tensors, metadata) => Object.assign(metadata, { pending: "" }), /neither/],
  ])("%s", (_name, change, message) => {
    expect(refusal(() => readSnapshot(forge(change), model, print))).toMatchObject({
      code: "STATE_DAMAGED",
      message: expect.stringMatching(message),
    })
  })
})

describe("the fingerprint", () => {
  const weights = new Uint8Array(10_000).map((_, i) => i)
  const source = (data: Uint8Array, name = "a") => ({
    files: [data],
    tensors: [
      { name, file: 0, offset: 0, bytes: 9000, dtype: "bf16" as const, shape: [4500] },
      { name: "b", file: 0, offset: 9000, bytes: 1000, dtype: "f32" as const, shape: [250] },
    ],
  })
  const changedAt = (at: number): Uint8Array => weights.map((byte, i) => (i === at ? byte ^ 1 : byte))
  const fingerprint = ({ files, tensors }: ReturnType<typeof source>, of: LanguageModel = model): string =>
    modelFingerprint(of, tensors, (file, offset, length) => (files[file] as Uint8Array).subarray(offset, offset + length))
  const own = fingerprint(source(weights))

  test("is that of the same weights in another order", () => {
    expect(own).toMatch(/^[0-9a-f]{64}$/)
    const { files, tensors } = source(weights)
    expect(fingerprint({ files, tensors: [...tensors].reverse() })).toBe(own)
  })
  test("changes with either end of a tensor, its name, and the configuration", () => {
    const others = [
      fingerprint(source(changedAt(0))),
      fingerprint(source(changedAt(8999))),
      fingerprint(source(changedAt(9500))),
      fingerprint(source(weights, "c")),
      fingerprint(source(weights), { ...model, fingerprint: { layers: 1, expand: 3 } } as LanguageModel),
    ]
    expect(new Set([own, ...others]).size).toBe(6)
  })
  test.each([1, 7, 4096, 5000, 10_000])("is the same of a file that streams by in pieces of %i bytes", async (size) => {
    const { tensors } = source(weights)
    const edges = new Edges(tensors)
    async function* pieces(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < weights.length; at += size) yield weights.subarray(at, at + size)
    }
    let count = 0
    for await (const piece of edges.through(pieces())) count += piece.length
    expect(count).toBe(weights.length)
    expect(modelFingerprint(model, tensors, (_file, offset, length) => edges.read(offset, length))).toBe(own)
  })
  test("does not read the middle of a large tensor", () => {
    expect(fingerprint(source(changedAt(4500)))).toBe(own)
  })
})
