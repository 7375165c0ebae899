/** From what a caller names to a checkpoint, in Node: the embedded model, a folder or file, a URL, a repository of the hub, or its parts. */
import { existsSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { CheckpointError, OptionError } from "../errors.ts"
import { notASource, parseHubId, parseUrl, splitUrl } from "./address.ts"
import { findFile, readCheckpoint } from "./file.ts"
import { openGiven } from "./given.ts"
import type { Checkpoint, CheckpointFile, CheckpointSource, SourceOptions } from "./types.ts"

export type { Checkpoint, Progress, SourceOptions, UnsupportedTensor } from "./types.ts"

const embeddedName = "rustbook-mamba1-2.8m"

/** Folder of this package: the nearest one above this file, whether it runs from `ts/` or from `dist/`, that has a package.json. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, "package.json")) && dirname(folder) !== folder) folder = dirname(folder)
  return folder
}

const isAddress = (text: string): boolean => /^https?:/i.test(text)
const pathOf = (text: string): string => (/^file:/i.test(text) ? pathOfUrl(text) : text)

/** The file that a path or an address names; an address is read as a page would, past the cache on disk. */
export async function findPlace(place: string | URL, options: SourceOptions): Promise<CheckpointFile | undefined> {
  const text = String(place)
  if (!isAddress(text)) return findFile(pathOf(text))
  const { findRemote } = await import("./web/remote.ts")
  return findRemote(parseUrl(text), { options: { ...options, cacheDir: false } })
}

/**
 * Reads the checkpoint that `source` names: nothing (the embedded model), a folder, a `.safetensors` file, a `file:` or `http(s):` URL of
 * either, or `owner/name[@revision]`, which is the hub unless that folder exists here; or the checkpoint that it is.
 * @throws CheckpointError, TokenizerError, HubError, OptionError; the signal's reason when aborted
 */
export async function openCheckpoint(source?: CheckpointSource, options: SourceOptions = {}): Promise<Checkpoint> {
  const { signal, onProgress } = options
  signal?.throwIfAborted()
  const taken = (label: string): string => {
    onProgress?.({ phase: "source", file: label, loaded: 0 })
    return label
  }
  if (source === undefined) {
    return readCheckpoint(join(packageRoot(), "models", embeddedName), embeddedName, taken(`embedded model ${embeddedName}`))
  }
  if (source === "") throw notASource(source)
  if (typeof source !== "string" && !(source instanceof URL)) return openGiven(source, options, findPlace)
  const text = String(source)
  const id = parseHubId(text)
  const remote = isAddress(text) || (id !== undefined && !existsSync(text))
  if (remote && options.cacheDir === false) {
    const { endpointOf, accessToken } = await import("./hub.ts")
    const { openRemote } = await import("./web/source.ts")
    return openRemote(text, { ...options, endpoint: endpointOf(options), token: await accessToken(options) })
  }
  if (isAddress(text)) {
    const url = parseUrl(text)
    const { downloadCheckpoint } = await import("./url.ts")
    const label = taken(`URL ${text}`)
    return readCheckpoint(await downloadCheckpoint(url, options), splitUrl(url).name, label)
  }
  if (id === undefined || !remote) {
    if (id !== undefined && options.revision !== undefined) {
      throw new OptionError(
        "OPTION_RANGE",
        `revision "${options.revision}" was given, but ${text} is a folder here and has no revisions.`,
        {
          fix: "Leave revision out, or run from a place where that folder does not exist.",
        },
      )
    }
    const path = pathOf(text)
    return readCheckpoint(path, undefined, taken(`path ${path}`))
  }
  const { downloadRepository } = await import("./hub.ts")
  const at = id.revision ?? options.revision ?? "main"
  const label = taken(`${id.name}@${at} (hub)`)
  return readCheckpoint(await downloadRepository(id.name, at, options), id.name, label)
}

function pathOfUrl(url: string): string {
  try {
    return fileURLToPath(url)
  } catch (cause) {
    throw new CheckpointError("CHECKPOINT_NOT_FOUND", `${url} is not a file URL of this machine.`, {
      fix: "Write it as file:///path.",
      cause,
    })
  }
}
