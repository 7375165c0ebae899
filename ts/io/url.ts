/**
 * A checkpoint at an http(s) address: a folder's, or that of its `.safetensors` file. Copied into the cache file by file and asked for
 * again by its ETag, so that an unchanged one is not downloaded twice.
 */
import { createHash } from "node:crypto"
import { readFile, rename, rm, stat, writeFile } from "node:fs/promises"
import { homedir } from "node:os"
import { basename, join } from "node:path"
import { HubError } from "../errors.ts"
import { fileUrl, splitUrl } from "./address.ts"
import { intoCache, isOffline, saveResponse } from "./download.ts"
import { checkedFetch } from "./http.ts"
import type { SourceOptions } from "./types.ts"

/** Not the hub's cache, whose tools would take a foreign folder for a damaged repository. */
function cacheFolder(url: URL, options: SourceOptions): string {
  const root = options.cacheDir || join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "statespace")
  return join(root, "urls", createHash("sha256").update(url.href).digest("hex").slice(0, 24))
}

const exists = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined)) !== undefined

/** Brings one file up to date; false when the server has none and it is optional. */
async function update(url: URL, path: string, optional: boolean, options: SourceOptions): Promise<boolean> {
  const have = await exists(path)
  const tag = have ? await readFile(`${path}.etag`, "utf8").catch(() => "") : ""
  const fetch = checkedFetch(url.href, options.signal)
  let response: Response
  try {
    response = await fetch(url.href, { headers: tag === "" ? {} : { "if-none-match": tag } })
  } catch (error) {
    if (!(error instanceof HubError) || !optional || error.status !== 404) throw error
    await intoCache(path, url.href, () => rm(path, { force: true }))
    return false
  }
  if (response.status === 304) return true
  await saveResponse(response, path, basename(path), {}, options)
  await intoCache(path, url.href, async () => {
    await writeFile(`${path}.etag.incomplete`, response.headers.get("etag") ?? "")
    await rename(`${path}.etag.incomplete`, `${path}.etag`)
  })
  return true
}

/** Files that the index of a sharded checkpoint names; what is wrong with it is told when the folder is read. */
async function shardNames(index: string): Promise<string[]> {
  try {
    const { weight_map: map } = JSON.parse(await readFile(index, "utf8")) as { weight_map: Record<string, string> }
    return [...new Set(Object.values(map))].filter((file) => /^[\w.-]+\.safetensors$/.test(file))
  } catch {
    return []
  }
}

/** Brings all files of the checkpoint at `base` up to date. */
async function updateAll(base: URL, weights: string, folder: string, options: SourceOptions): Promise<void> {
  const get = (file: string, optional: boolean): Promise<boolean> => {
    return update(fileUrl(base, file), join(folder, file), optional, options)
  }
  await get("config.json", false)
  for (const file of ["generation_config.json", "tokenizer.json", "tokenizer_config.json"]) await get(file, true)
  if (await get(weights, weights === "model.safetensors")) return
  await get("model.safetensors.index.json", false)
  for (const file of await shardNames(join(folder, "model.safetensors.index.json"))) await get(file, false)
}

/**
 * Downloads the checkpoint at `url` and returns its folder, or its file when the address is that of one. Without network the copy in the
 * cache is used.
 * @throws HubError; the signal's reason when aborted
 */
export async function downloadCheckpoint(url: URL, options: SourceOptions): Promise<string> {
  const { base, weights: named } = splitUrl(url)
  const weights = named ?? "model.safetensors"
  const folder = cacheFolder(base, options)
  const path = named === undefined ? folder : join(folder, named)
  // Tells a whole copy from one that an abort cut short between two files.
  const whole = join(folder, `${weights}.complete`)
  if (isOffline(options)) {
    if (await exists(whole)) return path
    throw new HubError(
      "HUB_OFFLINE",
      `${url.href} is not in the cache (${folder}), and the network is off (localFilesOnly or HF_HUB_OFFLINE).`,
      { fix: "Allow the network once, or pass the folder of a checkpoint.", url: url.href },
    )
  }
  try {
    await updateAll(base, weights, folder, options)
  } catch (error) {
    if (error instanceof HubError && error.code === "HUB_UNREACHABLE" && (await exists(whole))) return path
    throw error
  }
  await intoCache(whole, url.href, () => writeFile(whole, ""))
  return path
}
