/** From what a caller names to a checkpoint, in a page: an address, a repository of the hub, or the files themselves. */
import { HubError, OptionError } from "../../errors.ts"
import { checkRevision, fileUrl, notASource, parseHubId, parseUrl, splitUrl } from "../address.ts"
import { readFolder } from "../checkpoint.ts"
import { openGiven } from "../given.ts"
import { checkedFetch } from "../http.ts"
import type { Checkpoint, CheckpointFile, CheckpointSource, Folder, SourceOptions } from "../types.ts"
import { type Keeper, WebCache } from "./cache.ts"
import { findRemote, openRemoteFile, type RemoteContext } from "./remote.ts"

const commit = /^[0-9a-f]{40}$/

/** How a page's Worker reads: it has neither the page's address nor the right to write its caches. */
export interface ReadOptions extends SourceOptions {
  base?: string | undefined
  keeper?: (cache: string) => Keeper
}

async function cacheOf({ cacheDir = "statespace", keeper }: ReadOptions): Promise<WebCache | undefined> {
  return cacheDir === false ? undefined : WebCache.open(cacheDir, keeper?.(cacheDir))
}

/** What relative addresses start from: the document's, or in a Worker that of its script. */
export function baseUrl(): string | undefined {
  const { document, location } = globalThis as { document?: { baseURI: string }; location?: { href: string } }
  return document?.baseURI ?? location?.href
}

interface Place {
  base: URL
  name: string
  label: string
  weights: string | undefined
  context: RemoteContext
  /** Files that are there, where the hub has told. */
  files?: readonly string[] | undefined
}

interface Repository {
  sha: string
  files: string[] | undefined
  sha256: Map<string, string>
}

/** What the hub says of a revision; undefined where it cannot be asked, or is a server that only has the files. */
async function askHub(name: string, revision: string, hub: string, options: SourceOptions): Promise<Repository | undefined> {
  const { token, signal, localFilesOnly } = options
  if (localFilesOnly === true) return undefined
  const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {}
  const fetch = checkedFetch(`${name}@${revision}`, signal, new URL(hub).origin, headers)
  try {
    const response = await fetch(`${hub}/api/models/${name}/revision/${encodeURIComponent(revision)}?blobs=true`)
    const { sha, siblings } = (await response.json()) as { sha: string; siblings?: { rfilename: string; lfs?: { sha256?: string } }[] }
    if (!commit.test(sha)) return undefined
    const large = siblings?.flatMap(({ rfilename, lfs }) => (lfs?.sha256 ? [[rfilename, lfs.sha256] as const] : []))
    return { sha, files: siblings?.map(({ rfilename }) => rfilename), sha256: new Map(large) }
  } catch (error) {
    signal?.throwIfAborted()
    // Of these the request for a file says the same, or the cache has it.
    if (!(error instanceof HubError) || error.status === 404 || error.code === "HUB_UNREACHABLE") return undefined
    throw error
  }
}

async function hubPlace(id: { name: string; revision: string | undefined }, options: SourceOptions): Promise<Place> {
  const { name } = id
  const hub = (options.endpoint ?? "https://huggingface.co").replace(/\/+$/, "")
  const revision = id.revision ?? options.revision ?? "main"
  checkRevision(revision)
  const folder = (at: string): URL => parseUrl(`${hub}/${name}/resolve/${encodeURIComponent(at)}/`)
  const label = `${name}@${revision} (hub)`
  options.onProgress?.({ phase: "source", file: label, loaded: 0 })
  const context: RemoteContext = { options: { ...options, endpoint: hub }, what: `${name}@${revision}` }
  const repository = await askHub(name, revision, hub, options)
  if (repository === undefined) return { base: folder(revision), name, label, weights: undefined, context }
  const { sha, sha256, files } = repository
  const base = folder(sha)
  const key = (url: URL): string => folder(revision).href + url.href.slice(base.href.length)
  return { base, name, label, weights: undefined, files, context: { ...context, pinned: { commit: sha, key, sha256 } } }
}

function urlPlace(text: string, options: ReadOptions): Place {
  if (/^file:/i.test(text)) {
    throw new OptionError("OPTION_RANGE", `${text}: a page cannot read the files of a machine by their paths.`, {
      fix: "Pass the files themselves, as an array of File, or the address of a server that has them.",
    })
  }
  const url = parseUrl(text, options.base ?? baseUrl())
  const label = `URL ${url.href}`
  options.onProgress?.({ phase: "source", file: label, loaded: 0 })
  // A token is for the hub, wherever else the files lie.
  return { ...splitUrl(url), label, context: { options: { ...options, endpoint: undefined, token: undefined } } }
}

/**
 * Whether the folder does without this file. Weights are kept last, so what is not beside kept weights was not on the server either: without
 * network it is absent, and weights that are absent are refused.
 */
const isAbsent = ({ status, code }: HubError, { kept = false }: RemoteContext): boolean =>
  status === 404 || code === "HUB_OFFLINE" || (code === "HUB_UNREACHABLE" && kept)

/** What a page knows of a folder behind an address: it asks for each file. */
function remoteFolder({ base, files }: Place, context: RemoteContext): Folder {
  let missing: HubError | undefined
  const open = (file: string): Promise<CheckpointFile> => openRemoteFile(fileUrl(base, file), context)
  return {
    where: base.href.replace(/\/$/, ""),
    nameOf: (file) => fileUrl(base, file).href,
    async find(file) {
      if (files?.includes(file) === false) return undefined
      // Without it there is nothing to load: the server's own refusal says more than that a file is missing.
      if (file === "config.json") return open(file)
      try {
        return await open(file)
      } catch (error) {
        if (!(error instanceof HubError) || !isAbsent(error, context)) throw error
        missing ??= error
        return undefined
      }
    },
    async list() {
      if (files === undefined) throw missing
      return files
    },
  }
}

/** Reads the checkpoint at an address or in a repository of the hub. */
export async function openRemote(text: string, options: ReadOptions): Promise<Checkpoint> {
  const id = parseHubId(text)
  const found = id === undefined ? urlPlace(text, options) : await hubPlace(id, options)
  const folder = remoteFolder(found, { ...found.context, cache: await cacheOf(options) })
  return readFolder(folder, found.name, found.label, found.weights)
}

/** The file that an address names. */
export async function findPlace(at: string | URL, options: ReadOptions): Promise<CheckpointFile | undefined> {
  const context = { options: { ...options, endpoint: undefined, token: undefined }, cache: await cacheOf(options) }
  return findRemote(parseUrl(String(at), options.base ?? baseUrl()), context)
}

/**
 * Reads the checkpoint that `source` names: the address of a folder or of a `.safetensors` file, `owner/name[@revision]` on the hub, or
 * the checkpoint that it is.
 * @throws CheckpointError, TokenizerError, HubError, OptionError; the signal's reason when aborted
 */
export async function openCheckpoint(source: CheckpointSource | undefined, options: ReadOptions = {}): Promise<Checkpoint> {
  options.signal?.throwIfAborted()
  if (source === undefined) {
    throw new OptionError("OPTION_REQUIRED", "load() has no model: a page carries the embedded one only where it asks for it.", {
      fix: 'Import { tiny } from "statespace/tiny" and call load(tiny), or name a model.',
    })
  }
  if (source === "") throw notASource(source)
  if (typeof source === "string" || source instanceof URL) return openRemote(String(source), options)
  return openGiven(source, options, findPlace)
}
