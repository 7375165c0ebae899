/**
 * The safetensors format: `u64 header length · JSON header · tensor bytes`. A checkpoint comes from anywhere, so every number in the
 * header is checked before anything uses it: what `readTable` returns lies inside the file, or it throws.
 */
import { CheckpointError } from "../errors.ts"
import type { DType } from "../plan/types.ts"
import { duplicateKey } from "./json.ts"
import type { CheckpointFile } from "./types.ts"

/** One tensor of a file. `offset` is from the start of the file, `dtype` as the file spells it (`BF16`). */
export interface StoredTensor {
  name: string
  dtype: string
  shape: number[]
  offset: number
  bytes: number
}
export interface SafetensorsTable {
  /** In order of their bytes. */
  tensors: StoredTensor[]
  metadata: Record<string, string>
  /** Size of the file. */
  bytes: number
}

/** Longest header that the format's own library accepts. */
const maxHeader = 100_000_000

/** Bits of one element. */
// biome-ignore format: a table
const dtypeBits: Readonly<Record<string, number>> = {
  F4: 4, F6_E2M3: 6, F6_E3M2: 6, BOOL: 8, U8: 8, I8: 8, F8_E4M3: 8, F8_E5M2: 8, F8_E8M0: 8, F8_E4M3FNUZ: 8, F8_E5M2FNUZ: 8,
  I16: 16, U16: 16, F16: 16, BF16: 16, I32: 32, U32: 32, F32: 32, I64: 64, U64: 64, F64: 64, C64: 64,
}

const engineDtypes: Readonly<Record<string, DType>> = { F32: "f32", BF16: "bf16", F16: "f16", I32: "i32", U32: "u32", U8: "u8" }
const storedDtypes: Readonly<Record<DType, string>> = { f32: "F32", bf16: "BF16", f16: "F16", i32: "I32", u32: "U32", u8: "U8" }

/** The engine's name of a stored dtype, or undefined when it has none. */
export function engineDtype(stored: string): DType | undefined {
  return Object.hasOwn(engineDtypes, stored) ? engineDtypes[stored] : undefined
}

const again = "Download or convert the file again."

function bad(code: string, file: string, reason: string, fix: string = again, cause?: unknown): CheckpointError {
  return new CheckpointError(code, `${file}: ${reason}.`, { fix, cause })
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value)

/** Header length from the first 8 bytes. @throws CheckpointError when a file of `fileBytes` (where that is known) cannot hold it. */
function headerLength(prefix: Uint8Array, fileBytes: number | undefined, file: string): number {
  if (prefix.length < 8) throw bad("CHECKPOINT_TRUNCATED", file, `${prefix.length} bytes are too few for a safetensors file`)
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true)
  if (length > BigInt(maxHeader)) {
    throw bad("CHECKPOINT_HEADER", file, `its header claims ${length} bytes, more than the format allows: this is not a safetensors file`)
  }
  if (fileBytes !== undefined && Number(length) > fileBytes - 8) {
    throw bad("CHECKPOINT_TRUNCATED", file, `the header needs ${length} bytes, the file ends after ${fileBytes}`)
  }
  return Number(length)
}

function parseHeader(bytes: Uint8Array, file: string): Record<string, unknown> {
  if (bytes[0] !== 0x7b) throw bad("CHECKPOINT_HEADER", file, "its header does not start with '{': this is not a safetensors file")
  let text: string
  let header: unknown
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
    header = JSON.parse(text)
  } catch (cause) {
    throw bad("CHECKPOINT_HEADER", file, "its header is not valid JSON", again, cause)
  }
  const twice = duplicateKey(text)
  if (twice !== undefined) throw bad("CHECKPOINT_HEADER", file, `its header names ${JSON.stringify(twice)} twice`)
  return header as Record<string, unknown>
}

function parseMetadata(value: unknown, file: string): Record<string, string> {
  if (value === undefined) return {}
  if (!isRecord(value) || Object.values(value).some((entry) => typeof entry !== "string")) {
    throw bad("CHECKPOINT_HEADER", file, "its __metadata__ is not an object of strings")
  }
  return value as Record<string, string>
}

/** Bytes of a dense tensor, or undefined when that is not a whole, exactly representable number. */
function denseBytes(shape: readonly number[], bits: number): number | undefined {
  let total = bits
  for (const extent of shape) {
    // An extent of zero must not hide an overflow of the others.
    total = extent === 0 ? total : total * extent
    if (!Number.isSafeInteger(total)) return undefined
  }
  if (shape.includes(0)) return 0
  return total % 8 === 0 ? total / 8 : undefined
}

function parseTensor(name: string, value: unknown, base: number, bufferBytes: number, file: string): StoredTensor {
  const at = `tensor ${JSON.stringify(name)}`
  if (!isRecord(value)) throw bad("CHECKPOINT_HEADER", file, `${at} is not described by an object`)
  const { dtype, shape, data_offsets: offsets } = value
  if (typeof dtype !== "string" || !Object.hasOwn(dtypeBits, dtype)) {
    throw bad(
      "CHECKPOINT_DTYPE",
      file,
      `${at} has the unknown dtype ${JSON.stringify(dtype)}`,
      "Convert the checkpoint to F32, BF16 or F16.",
    )
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) throw bad("CHECKPOINT_HEADER", file, `${at} has an invalid shape`)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    throw bad("CHECKPOINT_OFFSETS", file, `${at} has invalid data_offsets`)
  }
  const [begin, end] = offsets as [number, number]
  if (end > bufferBytes && begin <= end) {
    throw bad("CHECKPOINT_TRUNCATED", file, `${at} ends at byte ${base + end}, the file at ${base + bufferBytes}`)
  }
  const bytes = denseBytes(shape, dtypeBits[dtype] as number)
  if (begin > end || bytes !== end - begin) {
    const needs = bytes === undefined ? "no whole number of bytes that can be addressed" : `${bytes} bytes`
    throw bad(
      "CHECKPOINT_OFFSETS",
      file,
      `${at} (${dtype} [${shape}]) needs ${needs}, its data_offsets [${begin}, ${end}] hold ${end - begin}`,
    )
  }
  return { name, dtype, shape, offset: base + begin, bytes }
}

/** Table from a whole header. `headerBytes` are those after the length; `fileBytes` is the size of the file, where that is known. */
function buildTable(headerBytes: Uint8Array, fileBytes: number | undefined, file: string): SafetensorsTable {
  const header = parseHeader(headerBytes, file)
  const base = 8 + headerBytes.length
  const metadata = parseMetadata(header.__metadata__, file)
  const tensors: StoredTensor[] = []
  for (const [name, value] of Object.entries(header)) {
    if (name !== "__metadata__") tensors.push(parseTensor(name, value, base, (fileBytes ?? Number.MAX_SAFE_INTEGER) - base, file))
  }
  tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)
  let covered = base
  for (const tensor of tensors) {
    if (tensor.offset !== covered) {
      const what = tensor.offset < covered ? "overlaps the tensor before it" : `leaves ${tensor.offset - covered} bytes unused before it`
      throw bad("CHECKPOINT_OFFSETS", file, `tensor ${JSON.stringify(tensor.name)} ${what}`)
    }
    covered += tensor.bytes
  }
  if (fileBytes !== undefined && covered !== fileBytes) {
    throw bad("CHECKPOINT_OFFSETS", file, `${fileBytes - covered} bytes after the last tensor belong to none`)
  }
  return { tensors, metadata, bytes: covered }
}

/** Reads and checks the header of a safetensors file. @throws CheckpointError naming file, tensor and reason. */
export async function readTable(source: Pick<CheckpointFile, "name" | "bytes" | "head">): Promise<SafetensorsTable> {
  const length = headerLength(await source.head(8), source.bytes, source.name)
  const head = await source.head(8 + length)
  if (head.length < 8 + length) {
    throw bad("CHECKPOINT_TRUNCATED", source.name, `the header needs ${length} bytes, the file ends after ${head.length}`)
  }
  return buildTable(head.subarray(8), source.bytes, source.name)
}

/** A tensor in memory; `data` holds its little-endian bytes, dense. */
export interface TensorData {
  dtype: DType
  shape: number[]
  data: Uint8Array
}

/**
 * Reads a whole safetensors file that is in memory; the tensors are views of `bytes`. `file` names it in errors.
 * @throws CheckpointError also for a dtype that has no counterpart in the engine.
 */
export function decodeSafetensors(bytes: Uint8Array, file: string): { tensors: Map<string, TensorData>; metadata: Record<string, string> } {
  const length = headerLength(bytes.subarray(0, 8), bytes.length, file)
  const table = buildTable(bytes.subarray(8, 8 + length), bytes.length, file)
  const tensors = new Map<string, TensorData>()
  for (const { name, dtype: stored, shape, offset, bytes: size } of table.tensors) {
    const dtype = engineDtype(stored)
    if (dtype === undefined) {
      throw bad(
        "CHECKPOINT_DTYPE",
        file,
        `tensor ${JSON.stringify(name)} is ${stored}, which is not supported`,
        "Store it as F32, BF16 or F16.",
      )
    }
    tensors.set(name, { dtype, shape, data: bytes.subarray(offset, offset + size) })
  }
  return { tensors, metadata: table.metadata }
}

const dtypeOrder: readonly DType[] = ["f32", "i32", "u32", "bf16", "f16", "u8"]

/**
 * Bytes of a safetensors file. The same input gives the same bytes: tensors are ordered by element size, then name, so that each is
 * aligned to its elements, and the header is padded with spaces to a multiple of 8.
 */
export function encodeSafetensors(tensors: ReadonlyMap<string, TensorData>, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  const byName = ([a]: [string, unknown], [b]: [string, unknown]): number => (a < b ? -1 : 1)
  const ordered = [...tensors].sort((a, b) => dtypeOrder.indexOf(a[1].dtype) - dtypeOrder.indexOf(b[1].dtype) || byName(a, b))
  // Built as text because a tensor may be called `__proto__`, or like a number, which an object would put first.
  const entries =
    Object.keys(metadata).length === 0
      ? []
      : [`"__metadata__":${JSON.stringify(Object.fromEntries(Object.entries(metadata).sort(byName)))}`]
  let total = 0
  for (const [name, { dtype, shape, data }] of ordered) {
    entries.push(
      `${JSON.stringify(name)}:${JSON.stringify({ dtype: storedDtypes[dtype], shape, data_offsets: [total, total + data.length] })}`,
    )
    total += data.length
  }
  const header = new TextEncoder().encode(`{${entries.join(",")}}`)
  const padded = Math.ceil(header.length / 8) * 8
  const out = new Uint8Array(8 + padded + total)
  new DataView(out.buffer).setBigUint64(0, BigInt(padded), true)
  out.fill(0x20, 8, 8 + padded)
  out.set(header, 8)
  let at = 8 + padded
  for (const [, { data }] of ordered) {
    out.set(data, at)
    at += data.length
  }
  return out
}
