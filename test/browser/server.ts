/** A static server for tests: isolated or not, two of them are two origins, and any path can be made slow, broken or wrongly typed. */
import { createReadStream } from "node:fs"
import { stat } from "node:fs/promises"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { extname, join, normalize } from "node:path"
import { Readable } from "node:stream"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { createGzip } from "node:zlib"

const types: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
  ".png": "image/png",
}

export interface ServerOptions {
  /** URL prefix → folder; the longest prefix that fits is taken. The default is the repository below `/`. */
  folders?: Record<string, string>
  /** Send COOP and COEP, so that the page is cross-origin isolated. */
  isolated?: boolean
  /** The value of `Content-Security-Policy`. */
  csp?: string
  /** Let other origins read, as a CDN does (CORS and CORP). */
  cors?: boolean
  /** Compress text and wasm where the client accepts it. */
  gzip?: boolean
  /** Any free one by default. */
  port?: number
}

/** What goes wrong with a path. */
export interface Fault {
  status?: number
  /** Milliseconds before the headers. */
  delay?: number
  bytesPerSecond?: number
  /** The connection breaks after so many bytes. */
  cutAfter?: number
  /** Another content type; null sends none. */
  type?: string | null
  /** Range requests are answered with the whole file. */
  noRanges?: boolean
}

export interface Seen {
  method: string
  path: string
  range: string | undefined
  status: number
  /** Bytes of the body as they went over the wire. */
  bytes: number
}

export interface TestServer {
  readonly origin: string
  /** Files that exist only here, by path: pages of a test. They win over folders. */
  readonly files: Map<string, string | Uint8Array>
  readonly faults: Map<string, Fault>
  /** Every request so far. */
  readonly requests: Seen[]
  close(): Promise<void>
}

const root = fileURLToPath(new URL("../..", import.meta.url))

export async function serve(options: ServerOptions = {}): Promise<TestServer> {
  // A page asks for its icon unbidden; without one, every page would have an error in its console.
  const files: TestServer["files"] = new Map([["/favicon.ico", ""]])
  const faults: TestServer["faults"] = new Map()
  const requests: Seen[] = []
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname)
    const seen: Seen = { method: request.method ?? "GET", path, range: request.headers.range, status: 0, bytes: 0 }
    const write = response.write.bind(response) as (chunk: Uint8Array, ...more: unknown[]) => boolean
    response.write = (chunk: Uint8Array, ...more: unknown[]) => {
      seen.bytes += chunk.length
      return write(chunk, ...more)
    }
    response.on("close", () => requests.push({ ...seen, status: response.statusCode }))
    answer(request, response, path, { options, files, fault: faults.get(path) ?? {} }).catch(() => response.destroy())
  })
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(options.port ?? 0, "127.0.0.1", resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    files,
    faults,
    requests,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

function headersOf(options: ServerOptions): Record<string, string> {
  return {
    "cache-control": "no-store",
    "accept-ranges": "bytes",
    ...(options.isolated && { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" }),
    ...(options.csp && { "content-security-policy": options.csp }),
    ...(options.cors && {
      "access-control-allow-origin": "*",
      "access-control-expose-headers": "*",
      "cross-origin-resource-policy": "cross-origin",
    }),
  }
}

interface Source {
  bytes: number
  open(start: number, end: number): Readable
}

async function find(path: string, options: ServerOptions, files: TestServer["files"]): Promise<Source | null> {
  const own = files.get(path)
  if (own !== undefined) {
    const bytes = Buffer.from(own as Uint8Array)
    return { bytes: bytes.length, open: (start, end) => Readable.from([bytes.subarray(start, end)]) }
  }
  const folders = Object.entries(options.folders ?? { "/": root }).sort(([a], [b]) => b.length - a.length)
  const [prefix, folder] = folders.find(([prefix]) => path.startsWith(prefix)) ?? []
  if (prefix === undefined || folder === undefined) return null
  const file = join(folder, normalize(`/${path.slice(prefix.length)}`), path.endsWith("/") ? "index.html" : "")
  const found = await stat(file).catch(() => null)
  if (!found?.isFile()) return null
  // `end` of a read stream is inclusive, which an empty range cannot be. In the default pieces of 64 KiB a server takes half a core of what
  // a bench measures beside it.
  const stream = (start: number, end: number): Readable => createReadStream(file, { start, end: end - 1, highWaterMark: 2 ** 20 })
  return { bytes: found.size, open: (start, end) => (end > start ? stream(start, end) : Readable.from([])) }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  { options, files, fault }: { options: ServerOptions; files: TestServer["files"]; fault: Fault },
): Promise<void> {
  for (const [name, value] of Object.entries(headersOf(options))) response.setHeader(name, value)
  if (fault.delay) await sleep(fault.delay)
  const source = await find(path, options, files)
  if (source === null || (fault.status ?? 200) >= 400) {
    response.writeHead(fault.status ?? 404, { "content-type": "text/plain" }).end(`${fault.status ?? 404} ${path}\n`)
    return
  }
  const type =
    fault.type === undefined ? (types[extname(path)] ?? (path.endsWith("/") ? types[".html"] : "application/octet-stream")) : fault.type
  if (type) response.setHeader("content-type", type)
  const range = fault.noRanges ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "")
  const start = range ? Number(range[1]) : 0
  const end = range?.[2] ? Math.min(Number(range[2]) + 1, source.bytes) : source.bytes
  if (start > end || (range && start >= source.bytes)) {
    response.writeHead(416, { "content-range": `bytes */${source.bytes}` }).end()
    return
  }
  if (range) response.setHeader("content-range", `bytes ${start}-${end - 1}/${source.bytes}`)
  response.statusCode = range ? 206 : (fault.status ?? 200)
  const zip = options.gzip && !range && /gzip/.test(`${request.headers["accept-encoding"]}`) && /text|json|wasm/.test(type ?? "")
  if (zip) response.setHeader("content-encoding", "gzip")
  else response.setHeader("content-length", end - start)
  if (request.method === "HEAD") return void response.end()
  const body = source.open(start, end)
  if (zip) body.pipe(createGzip()).pipe(response)
  else if (fault.bytesPerSecond || fault.cutAfter !== undefined) await drip(body, response, fault)
  else body.pipe(response)
}

/** Sends slowly, and breaks the connection where the fault says. */
async function drip(
  body: Readable,
  response: ServerResponse,
  { bytesPerSecond, cutAfter = Number.POSITIVE_INFINITY }: Fault,
): Promise<void> {
  const piece = bytesPerSecond ? Math.max(1, bytesPerSecond >> 5) : 65536
  let sent = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    for (let at = 0; at < chunk.length; at += piece) {
      const next = chunk.subarray(at, Math.min(at + piece, at + cutAfter - sent))
      if (response.destroyed) return
      response.write(next)
      sent += next.length
      // The bytes must leave before the connection is cut, or the client would see none of them.
      if (sent >= cutAfter) return void setTimeout(() => response.destroy(), 20)
      if (bytesPerSecond) await sleep(1000 / 32)
    }
  }
  response.end()
}
