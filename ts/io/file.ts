/** Checkpoints on this machine: a folder, or a file beside its configuration. */
import { closeSync, openSync, readSync } from "node:fs"
import { type FileHandle, open, readdir, stat } from "node:fs/promises"
import { basename, dirname, join, resolve } from "node:path"
import { CheckpointError } from "../errors.ts"
import { gathered } from "./bytes.ts"
import { readFolder } from "./checkpoint.ts"
import type { Checkpoint, CheckpointFile, Folder } from "./types.ts"

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException | null)?.code
/** Bytes that are read at once. */
const pieceBytes = 2 ** 22

function unreadable(path: string, cause: unknown): CheckpointError {
  const code = codeOf(cause)
  const fix = code === "EISDIR" ? "It must be a file, not a folder." : "Check the path and its permissions."
  return new CheckpointError("CHECKPOINT_READ", `${path} cannot be read (${code ?? String(cause)}).`, { fix, cause })
}

async function* pieces(path: string, until: number): AsyncGenerator<Uint8Array> {
  let handle: FileHandle | undefined
  try {
    handle = await open(path)
    for (let at = 0; at < until; ) {
      const piece = new Uint8Array(Math.min(pieceBytes, until - at))
      const { bytesRead } = await handle.read(piece, 0, piece.length, at)
      if (bytesRead === 0) return
      at += bytesRead
      yield piece.subarray(0, bytesRead)
    }
  } catch (cause) {
    throw cause instanceof CheckpointError ? cause : unreadable(path, cause)
  } finally {
    await handle?.close()
  }
}

function readNow(path: string, offset: number, length: number): Uint8Array {
  const descriptor = openSync(path, "r")
  try {
    const bytes = new Uint8Array(length)
    return bytes.subarray(0, readSync(descriptor, bytes, 0, length, offset))
  } finally {
    closeSync(descriptor)
  }
}

/** The file at `path`, which is asked for its size. Undefined when there is none. */
export async function findFile(path: string): Promise<CheckpointFile | undefined> {
  const found = await stat(path).catch((cause: unknown) => {
    if (codeOf(cause) === "ENOENT") return undefined
    throw unreadable(path, cause)
  })
  if (found === undefined) return undefined
  return {
    name: path,
    bytes: found.size,
    path,
    head: (length) => gathered(pieces(path, length)),
    open: () => pieces(path, found.size),
    readNow: (offset, length) => readNow(path, offset, length),
    close: async () => {},
  }
}

function folderAt(path: string): Folder {
  return {
    where: path,
    nameOf: (file) => join(path, file),
    find: (file) => findFile(join(path, file)),
    list: () => readdir(path),
  }
}

/**
 * Reads the checkpoint at `path`, a folder in the layout of Hugging Face or one `.safetensors` file with `config.json` beside it.
 * @throws CheckpointError naming file, tensor, reason and way out; TokenizerError when there is a tokenizer.json that cannot be read.
 */
export async function readCheckpoint(
  path: string,
  name: string = basename(resolve(path)),
  label: string = `folder ${path}`,
): Promise<Checkpoint> {
  const absolute = resolve(path)
  const found = await stat(absolute).catch((cause: unknown) => {
    throw new CheckpointError("CHECKPOINT_NOT_FOUND", `${path} does not exist (${absolute}).`, {
      fix: "Pass a folder, a .safetensors file, a URL, or a hub id of the form owner/name.",
      cause,
    })
  })
  if (!found.isFile()) return readFolder(folderAt(absolute), name, label)
  if (!absolute.endsWith(".safetensors")) {
    throw new CheckpointError("CHECKPOINT_FORMAT", `${path} is a file but not .safetensors.`, {
      fix: "Pass the folder of the checkpoint, or its .safetensors file.",
    })
  }
  return readFolder(folderAt(dirname(absolute)), name, label, basename(absolute))
}
