/**
 * Repositories of the Hugging Face hub in the cache layout of Python's `huggingface_hub` (`models--owner--name/{blobs,refs,snapshots}`),
 * so that both share one copy. The hub's API is spoken by `@huggingface/hub`, imported on first use.
 */
import { copyFile, mkdir, readFile, rename, stat, symlink, writeFile } from "node:fs/promises"
import { homedir } from "node:os"
import { basename, dirname, join, relative } from "node:path"
import { HubError, StatespaceError } from "../errors.ts"
import { checkRevision } from "./address.ts"
import { noWeights } from "./checkpoint.ts"
import { type Expected, intoCache, isOffline, saveResponse } from "./download.ts"
import { checkedFetch } from "./http.ts"
import type { SourceOptions } from "./types.ts"

const commit = /^[0-9a-f]{40}$/

interface RemoteFile {
  path: string
  size: number
  oid: string
  expected: Expected
}

/** Files of a repository that loading reads: configurations, tokenizer, and the weights in one file or in shards. */
function wanted(files: readonly RemoteFile[], name: string, where: string): RemoteFile[] {
  const named = new Map(files.map((file) => [file.path, file]))
  const small = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
  let weights = ["model.safetensors"]
  if (!named.has("model.safetensors")) {
    weights = files.map((file) => file.path).filter((path) => /^model-[\w.-]+\.safetensors$/.test(path))
    if (!named.has("model.safetensors.index.json")) throw noWeights([...named.keys()], where, name)
    weights.unshift("model.safetensors.index.json")
  }
  return [...small, ...weights].flatMap((path) => named.get(path) ?? [])
}

/** Folder of a cached snapshot, or undefined. */
async function cachedSnapshot(storage: string, revision: string): Promise<string | undefined> {
  const id = commit.test(revision) ? revision : await readFile(join(storage, "refs", revision), "utf8").catch(() => "")
  const folder = join(storage, "snapshots", id.trim())
  const isThere = commit.test(id.trim()) && (await stat(join(folder, "config.json")).catch(() => undefined)) !== undefined
  return isThere ? folder : undefined
}

/** Makes `snapshots/{commit}/{path}` mean the blob: a relative link, or a copy where links are not allowed. */
async function link(blob: string, pointer: string): Promise<void> {
  await mkdir(dirname(pointer), { recursive: true })
  try {
    await symlink(relative(dirname(pointer), blob), pointer)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") return
    const temporary = `${pointer}.${process.pid}.incomplete`
    await copyFile(blob, temporary)
    await rename(temporary, pointer)
  }
}

/** Address of the hub, without a slash at its end. */
export const endpointOf = (options: SourceOptions): string =>
  (options.endpoint ?? process.env.HF_ENDPOINT ?? "https://huggingface.co").replace(/\/+$/, "")

/** The caller's token, that of the environment, or the one that `hf auth login` keeps; empty when there is none. */
export async function accessToken(options: SourceOptions): Promise<string> {
  const home = process.env.HF_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "huggingface")
  const given = options.token ?? process.env.HF_TOKEN
  return (given ?? (await readFile(process.env.HF_TOKEN_PATH ?? join(home, "token"), "utf8").catch(() => ""))).trim()
}

/** Commit and files of a revision as the hub has them now. */
async function askHub(
  name: string,
  revision: string,
  hubUrl: string,
  fetch: typeof globalThis.fetch,
): Promise<{ sha: string; files: RemoteFile[] }> {
  const { listFiles, modelInfo } = await import("./hub-api.ts")
  const { sha } = await modelInfo({ name, revision, hubUrl, fetch, additionalFields: ["sha"] })
  const strange = (what: string): HubError =>
    new HubError("HUB_RESPONSE", `${hubUrl} answered with ${what} for ${name}.`, {
      fix: "Check HF_ENDPOINT: it must be a Hugging Face hub.",
      url: hubUrl,
    })
  // Commit and object ids become file names, so they must be nothing else.
  if (!commit.test(sha)) throw strange("a commit id that is none")
  const files: RemoteFile[] = []
  for await (const entry of listFiles({ repo: { type: "model", name }, revision: sha, hubUrl, fetch })) {
    if (entry.type !== "file") continue
    const oid = entry.lfs?.oid ?? entry.oid ?? ""
    const kind = entry.lfs === undefined ? "git" : "sha256"
    if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(oid) || !Number.isSafeInteger(entry.size))
      throw strange(`an invalid entry ${JSON.stringify(entry.path)}`)
    files.push({ path: entry.path, size: entry.size, oid, expected: { size: entry.size, hash: { kind, hex: oid } } })
  }
  return { sha, files }
}

/**
 * Folder that holds the files of `name` at `revision`, downloaded as far as the cache lacks them. Without network the cached snapshot is
 * used.
 * @throws HubError; CheckpointError when the repository has no safetensors; the signal's reason when aborted
 */
export async function downloadRepository(name: string, revision: string, options: SourceOptions): Promise<string> {
  checkRevision(revision)
  const { getHFHubCachePath } = await import("./hub-api.ts")
  const storage = join(options.cacheDir || getHFHubCachePath(), `models--${name.replace("/", "--")}`)
  const hubUrl = endpointOf(options)
  const url = `${hubUrl}/${name}`
  if (isOffline(options)) {
    const cached = await cachedSnapshot(storage, revision)
    if (cached !== undefined) return cached
    throw new HubError(
      "HUB_OFFLINE",
      `${name}@${revision} is not in the cache (${storage}), and the network is off (localFilesOnly or HF_HUB_OFFLINE).`,
      {
        fix: "Allow the network once, or pass the folder of a checkpoint.",
        url,
      },
    )
  }
  const token = await accessToken(options)
  const headers: Record<string, string> = token === "" ? {} : { authorization: `Bearer ${token}` }
  const fetch = checkedFetch(`${name}@${revision}`, options.signal, new URL(hubUrl).origin, headers)
  let remote: { sha: string; files: RemoteFile[] }
  try {
    remote = await askHub(name, revision, hubUrl, fetch)
  } catch (error) {
    options.signal?.throwIfAborted()
    const cached = error instanceof HubError && error.code === "HUB_UNREACHABLE" ? await cachedSnapshot(storage, revision) : undefined
    if (cached !== undefined) return cached
    if (error instanceof StatespaceError) throw error
    throw new HubError("HUB_RESPONSE", `${hubUrl} answered for ${name} with something else than the hub's format.`, {
      fix: "Check HF_ENDPOINT: it must be a Hugging Face hub.",
      url,
      cause: error,
    })
  }
  const snapshot = join(storage, "snapshots", remote.sha)
  for (const file of wanted(remote.files, name, url)) {
    const pointer = join(snapshot, file.path)
    if ((await stat(pointer).catch(() => undefined)) !== undefined) continue
    const blob = join(storage, "blobs", file.oid)
    if ((await stat(blob).catch(() => undefined))?.size !== file.size) {
      const response = await fetch(`${url}/resolve/${remote.sha}/${file.path}`)
      await saveResponse(response, blob, basename(file.path), file.expected, options)
    }
    await intoCache(pointer, url, () => link(blob, pointer))
  }
  // Last, so that a name points to a snapshot only once that is whole.
  if (revision !== remote.sha) {
    const ref = join(storage, "refs", revision)
    await intoCache(ref, url, async () => {
      await mkdir(dirname(ref), { recursive: true })
      await writeFile(`${ref}.${process.pid}.incomplete`, remote.sha)
      await rename(`${ref}.${process.pid}.incomplete`, ref)
    })
  }
  return snapshot
}
