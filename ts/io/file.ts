/** A file of this machine as a `ByteSource`. */
import { type FileHandle, open } from "node:fs/promises"
import { CheckpointError } from "../errors.ts"
import type { ByteSource } from "./safetensors.ts"

function unreadable(path: string, cause: unknown): CheckpointError {
  const code = (cause as NodeJS.ErrnoException | null)?.code
  if (code === "ENOENT")
    return new CheckpointError("CHECKPOINT_NOT_FOUND", `${path} does not exist.`, { fix: "Download the checkpoint again.", cause })
  const fix = code === "EISDIR" ? "It must be a file, not a folder." : "Check the file and its permissions."
  return new CheckpointError("CHECKPOINT_READ", `${path} cannot be read (${code ?? String(cause)}).`, { fix, cause })
}

async function readExactly(handle: FileHandle, path: string, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(bytes, done, length - done, offset + done)
    if (bytesRead === 0) {
      throw new CheckpointError("CHECKPOINT_TRUNCATED", `${path} ended at byte ${offset + done} while it was read.`, {
        fix: "Download the file again.",
      })
    }
    done += bytesRead
  }
  return bytes
}

/** Opens a file for the time of `use`. @throws CheckpointError when it cannot be opened or read. */
export async function withFile<T>(path: string, use: (source: ByteSource) => Promise<T>): Promise<T> {
  let handle: FileHandle | undefined
  try {
    const opened = await open(path)
    handle = opened
    const { size } = await opened.stat()
    return await use({ name: path, size, read: (offset, length) => readExactly(opened, path, offset, length) })
  } catch (cause) {
    throw cause instanceof CheckpointError ? cause : unreadable(path, cause)
  } finally {
    await handle?.close()
  }
}
