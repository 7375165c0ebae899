/** A hub of one repository, `owner/tiny`, which also serves its files at `/plain/tiny/`; its cache is a folder of each test's own. */
import { createHash } from "node:crypto"
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, vi } from "vitest"
import { HubError } from "../../ts/errors.ts"
import { type Checkpoint, openCheckpoint } from "../../ts/io/source.ts"

export const sha = "0123456789abcdef0123456789abcdef01234567"
export const golden = new URL("../golden/families/mamba/", import.meta.url)
export const weights = await readFile(new URL("model.safetensors", golden))
export const config = await readFile(new URL("config.json", golden))

interface Hub {
  /** A test's to change, like `answer`, which may take over a request. */
  files: Map<string, Buffer>
  answer: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined
  asked: { url: string; authorization: string | undefined; tag: string | undefined }[]
  endpoint: string
  cache: string
  close: () => Promise<void>
}
export const hub: Hub = { files: new Map(), answer: undefined, asked: [], endpoint: "", cache: "", close: async () => {} }

export const gitId = (bytes: Buffer): string => createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex")
export const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex")
export const json = (response: ServerResponse, value: unknown, status = 200): void => {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value))
}

function serve(request: IncomingMessage, response: ServerResponse): void {
  const url = request.url ?? ""
  hub.asked.push({ url, authorization: request.headers.authorization, tag: request.headers["if-none-match"] })
  if (hub.answer?.(request, response)) return
  const path = decodeURIComponent(url.split("?")[0] as string)
  if (
    path === "/api/models/owner/tiny/revision/main" ||
    path === `/api/models/owner/tiny/revision/${sha}` ||
    path === "/api/models/owner/tiny/revision/refs/pr/1"
  ) {
    json(response, { _id: "1", id: "owner/tiny", sha })
    return
  }
  if (path === `/api/models/owner/tiny/tree/${sha}`) {
    const entries = [...hub.files].map(([name, bytes]) => {
      const lfs = name.endsWith(".safetensors") ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } } : {}
      return { type: "file", path: name, size: bytes.length, oid: gitId(bytes), ...lfs }
    })
    json(response, [{ type: "directory", path: "onnx", size: 0, oid: sha }, ...entries])
    return
  }
  const prefix = [`/owner/tiny/resolve/${sha}/`, "/plain/tiny/"].find((start) => path.startsWith(start))
  const bytes = prefix === undefined ? undefined : hub.files.get(path.slice(prefix.length))
  if (bytes === undefined) {
    response.writeHead(404, { "x-error-code": "RepoNotFound" }).end()
    return
  }
  const tag = `"${sha256(bytes)}"`
  if (request.headers["if-none-match"] === tag) response.writeHead(304).end()
  else response.writeHead(200, { "content-length": bytes.length, etag: tag }).end(bytes)
}

/** A fresh hub and cache for every test of the file that calls this. */
export function useHub(): void {
  beforeEach(async () => {
    hub.asked = []
    hub.answer = undefined
    hub.files = new Map([
      ["config.json", config],
      ["model.safetensors", weights],
      ["README.md", Buffer.from("not wanted")],
    ])
    hub.cache = await mkdtemp(join(tmpdir(), "statespace-hub-"))
    const server = createServer(serve)
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
    hub.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    hub.close = () =>
      new Promise((done) => {
        server.close(() => done())
        server.closeAllConnections()
      })
    vi.stubEnv("HF_ENDPOINT", hub.endpoint)
    vi.stubEnv("HF_HOME", hub.cache)
    vi.stubEnv("XDG_CACHE_HOME", hub.cache)
    for (const name of ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE"]) vi.stubEnv(name, undefined)
  })
  afterEach(async () => {
    vi.unstubAllEnvs()
    await hub.close()
    await rm(hub.cache, { recursive: true, force: true })
  })
}

export const pathsOf = ({ files: read }: Checkpoint): unknown[] => read.map(({ path }) => path)
export const storage = (): string => join(hub.cache, "hub/models--owner--tiny")
export const everything = async (): Promise<string[]> => ((await readdir(hub.cache, { recursive: true })) as string[]).sort()

export async function refusal(source: string, options = {}): Promise<HubError> {
  const error = await openCheckpoint(source, options).catch((caught: unknown) => caught)
  expect(error).toBeInstanceOf(HubError)
  return error as HubError
}
