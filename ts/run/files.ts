/** Weight files on their way to an engine: as each backend takes them, and what the fingerprint will ask of them. */
import type { FileStream, TensorSource } from "../backend/interface.ts"
import { gathered } from "../io/bytes.ts"
import type { CheckpointFile } from "../io/types.ts"
import { Edges } from "./fingerprint.ts"

type Taken = string | Uint8Array | FileStream

/** The native engine maps paths and borrows bytes; what only streams is read whole for it. All others take what there is, a path as a stream. */
async function taken(file: CheckpointFile, open: () => AsyncIterable<Uint8Array>, backend: string): Promise<Taken> {
  if (file.data !== undefined) return file.data
  if (backend !== "wasm") return file.path ?? gathered(open())
  return { bytes: file.bytes as number, open }
}

export async function handOver(
  files: readonly CheckpointFile[],
  tensors: readonly TensorSource[],
  backend: string,
): Promise<{ files: Taken[]; read: (file: number, offset: number, length: number) => Uint8Array }> {
  const readers: ((offset: number, length: number) => Uint8Array)[] = []
  const all: Taken[] = []
  for (const [number, file] of files.entries()) {
    const edges = new Edges(file.readNow === undefined ? tensors.filter((tensor) => tensor.file === number) : [])
    readers.push(file.readNow ?? ((offset, length) => edges.read(offset, length)))
    all.push(await taken(file, () => edges.through(file.open()), backend))
  }
  return { files: all, read: (file, offset, length) => (readers[file] as (typeof readers)[0])(offset, length) }
}
