/** `files.ts` in a page, to which the repository is served. Read at once, since tests are declared at once. */

import type { Checkpoint } from "../../ts/io/types.ts"
import { browser } from "../../ts/platform/browser.ts"

interface Request {
  open(method: string, url: string, later: boolean): void
  overrideMimeType(type: string): void
  send(): void
  status: number
  responseText: string
}
declare const XMLHttpRequest: new () => Request
declare const location: { origin: string }

function get(path: string, type: string): string {
  const request = new XMLHttpRequest()
  request.open("GET", `/${path}`, false)
  request.overrideMimeType(type)
  request.send()
  if (request.status !== 200) throw new Error(`/${path}: ${request.status}`)
  return request.responseText
}

/** The only way to bytes without a promise: a charset that maps every byte to a character of its low eight bits. */
export const readBytes = (path: string): Uint8Array =>
  Uint8Array.from(get(path, "text/plain; charset=x-user-defined"), (character) => character.charCodeAt(0) & 0xff)
export const readText = (path: string): string => get(path, "text/plain; charset=utf-8")
export const openFolder = (path: string): Promise<Checkpoint> =>
  browser().openCheckpoint(`${location.origin}/${path}/`, { cacheDir: false })
export const resident = (): number | undefined => undefined
