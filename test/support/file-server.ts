/** Files of memory behind an address, with a server's habits to choose from. */
import { createHash } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

export interface FileServer {
  origin: string
  /** By path. */
  files: Map<string, Uint8Array>
  asked: { path: string; authorization: string | undefined }[]
  /** Bytes of bodies that were handed to connections. */
  sent: Map<string, number>
  /** Answers instead; false leaves it to the server. */
  answer: ((path: string, response: ServerResponse, request: IncomingMessage) => boolean) | undefined
  /** Headers besides the length and the ETag, which is the SHA-256 as the hub's is for large files. */
  headers: (path: string, bytes: Uint8Array) => Record<string, string>
  close(): Promise<void>
}

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

export async function serveFiles(): Promise<FileServer> {
  const self: FileServer = {
    origin: "",
    files: new Map(),
    asked: [],
    sent: new Map(),
    answer: undefined,
    headers: (_path, bytes) => ({ "content-length": String(bytes.length), etag: `"${sha256(bytes)}"` }),
    close: () => {
      server.closeAllConnections()
      return new Promise((done) => server.close(() => done()))
    },
  }
  const server = createServer((request, response) => {
    const path = decodeURIComponent((request.url ?? "").split("?")[0] as string)
    self.asked.push({ path, authorization: request.headers.authorization })
    if (self.answer?.(path, response, request)) return
    const bytes = self.files.get(path)
    if (bytes === undefined) {
      response.writeHead(404).end()
      return
    }
    response.writeHead(200, self.headers(path, bytes))
    // In steps that wait for the reader, as a network does.
    const step = (at: number): void => {
      if (at >= bytes.length) return void response.end()
      self.sent.set(path, Math.min(at + 65_536, bytes.length))
      const more = response.write(bytes.subarray(at, at + 65_536))
      if (more) setImmediate(step, at + 65_536)
      else response.once("drain", () => step(at + 65_536))
    }
    step(0)
  })
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
  self.origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return self
}
