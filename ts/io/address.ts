/** Names and addresses of checkpoints, as callers write them. */
import { OptionError } from "../errors.ts"

/** `owner/name` or `owner/name@revision`. */
const hubId = /^([A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*?)(?:@([^\s@]+))?$/

/** The parts of a hub id, or undefined when the text is none. */
export function parseHubId(text: string): { name: string; revision: string | undefined } | undefined {
  const [, name, revision] = hubId.exec(text) ?? []
  return name === undefined ? undefined : { name, revision }
}

export function checkRevision(revision: string): void {
  if (/^\w[\w./-]*$/.test(revision) && !revision.includes("..")) return
  throw new OptionError("OPTION_RANGE", `revision ${JSON.stringify(revision)} is not the name of a branch, tag or commit.`, {
    fix: "Use main, a tag or a commit id.",
  })
}

export function parseUrl(text: string, base?: string): URL {
  try {
    return new URL(text, base)
  } catch (cause) {
    throw new OptionError("OPTION_RANGE", `${text} is not a valid URL.`, { fix: "Write it as https://host/folder/.", cause })
  }
}

/** The folder of a checkpoint's address, with its slash, and the file of weights that the address names. */
export function splitUrl(url: URL): { base: URL; weights: string | undefined; name: string } {
  const base = new URL(url.href)
  base.hash = ""
  const single = url.pathname.endsWith(".safetensors")
  if (single) base.pathname = base.pathname.slice(0, base.pathname.lastIndexOf("/") + 1)
  else if (!base.pathname.endsWith("/")) base.pathname += "/"
  const parts = url.pathname.split("/").filter(Boolean)
  return { base, weights: single ? decodeURIComponent(parts.at(-1) as string) : undefined, name: parts.at(-1) ?? url.host }
}

/** The address of a file of the folder at `base`; a query (an access key, say) is kept. */
export function fileUrl(base: URL, file: string): URL {
  const url = new URL(base.href)
  url.pathname += encodeURIComponent(file)
  return url
}

/** Refuses what names no model. */
export function notASource(source: unknown): OptionError {
  const what = source === "" ? "an empty string" : source === null ? "null" : typeof source
  return new OptionError("OPTION_TYPE", `A model is named by a path, a URL, a hub id or its files, not ${what}.`, {
    fix: "Leave it out for the embedded model.",
  })
}
