/** From what a caller names to a checkpoint on this machine: the embedded model, a folder or file, a URL, or a repository of the hub. */
import { existsSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { CheckpointError, OptionError } from "../errors.ts"
import { type Checkpoint, readCheckpoint } from "./checkpoint.ts"

export type { Checkpoint, UnsupportedTensor } from "./checkpoint.ts"

/** What `onProgress` hears. `source` says once where the checkpoint is taken from; sizes in bytes, `total` while it is known. */
export interface Progress {
  phase: "source" | "download"
  file: string
  loaded: number
  total?: number
}

export interface SourceOptions {
  /** Branch, tag or commit of a hub repository; the same as `@revision` after its id. */
  revision?: string
  /** Hub access token; otherwise `HF_TOKEN`. */
  token?: string
  /** Cache folder; otherwise that of Python's `huggingface_hub`. */
  cacheDir?: string
  /** Never ask the network. */
  localFilesOnly?: boolean
  onProgress?: (progress: Progress) => void
  signal?: AbortSignal
}

const embeddedName = "rustbook-mamba1-2.8m"

/** Folder of this package: the nearest one above this file, whether it runs from `ts/` or from `dist/`, that has a package.json. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, "package.json")) && dirname(folder) !== folder) folder = dirname(folder)
  return folder
}

/** `owner/name` or `owner/name@revision`. */
const hubId = /^([A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*?)(?:@([^\s@]+))?$/

/**
 * Reads the checkpoint that `source` names: nothing (the embedded model), a folder, a `.safetensors` file, a `file:` or `http(s):` URL of
 * either, or `owner/name[@revision]`, which is the hub unless that folder exists here.
 * @throws CheckpointError, TokenizerError, HubError, OptionError; the signal's reason when aborted
 */
export async function openCheckpoint(source?: string | URL, options: SourceOptions = {}): Promise<Checkpoint> {
  const { signal, onProgress } = options
  signal?.throwIfAborted()
  const taken = (label: string): string => {
    onProgress?.({ phase: "source", file: label, loaded: 0 })
    return label
  }
  if (source === undefined) {
    return readCheckpoint(join(packageRoot(), "models", embeddedName), embeddedName, taken(`embedded model ${embeddedName}`))
  }
  if (!(source instanceof URL) && (typeof source !== "string" || source === "")) {
    throw new OptionError(
      "OPTION_TYPE",
      `A model is named by a path, a URL or a hub id, not ${source === "" ? "an empty string" : typeof source}.`,
      {
        fix: "Leave it out for the embedded model.",
      },
    )
  }
  const text = String(source)
  if (/^https?:/i.test(text)) {
    const url = parseUrl(text)
    const { downloadCheckpoint } = await import("./url.ts")
    const label = taken(`URL ${text}`)
    return readCheckpoint(await downloadCheckpoint(url, options), url.pathname.split("/").filter(Boolean).at(-1) ?? url.host, label)
  }
  if (/^file:/i.test(text)) {
    const path = pathOf(text)
    return readCheckpoint(path, undefined, taken(`path ${path}`))
  }
  const id = hubId.exec(text)
  if (id === null || existsSync(text)) {
    if (id !== null && options.revision !== undefined) {
      throw new OptionError(
        "OPTION_RANGE",
        `revision "${options.revision}" was given, but ${text} is a folder here and has no revisions.`,
        {
          fix: "Leave revision out, or run from a place where that folder does not exist.",
        },
      )
    }
    return readCheckpoint(text, undefined, taken(`path ${text}`))
  }
  const [, name, revision] = id as unknown as [string, string, string | undefined]
  const { downloadRepository } = await import("./hub.ts")
  const at = revision ?? options.revision ?? "main"
  const label = taken(`${name}@${at} (hub)`)
  return readCheckpoint(await downloadRepository(name, at, options), name, label)
}

function parseUrl(text: string): URL {
  try {
    return new URL(text)
  } catch (cause) {
    throw new OptionError("OPTION_RANGE", `${text} is not a valid URL.`, { fix: "Write it as https://host/folder/.", cause })
  }
}

function pathOf(url: string): string {
  try {
    return fileURLToPath(url)
  } catch (cause) {
    throw new CheckpointError("CHECKPOINT_NOT_FOUND", `${url} is not a file URL of this machine.`, {
      fix: "Write it as file:///path.",
      cause,
    })
  }
}
