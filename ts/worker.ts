/** The script of every Worker of the wasm backend, in browsers and in Node. It waits for a message that says what it is to be. */
import { type Line, serve } from "./backend/wasm/host.ts"
import { builtin } from "./backend/wasm/module.ts"
import { instantiate } from "./backend/wasm/shell.ts"
import { Tokenizer } from "./io/tokenizer.ts"
import { read } from "./io/web/reading.ts"

interface Scope {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void
  addEventListener(type: "message", hear: (event: { data: unknown }) => void): void
}

function lineOf(): Line {
  const port = builtin<typeof import("node:worker_threads")>("node:worker_threads")?.parentPort
  if (port) {
    return {
      post: (message, transfer) => port.postMessage(message, transfer),
      listen: (hear) => void port.on("message", hear),
    }
  }
  const scope = globalThis as unknown as Scope
  return {
    post: (message, transfer) => scope.postMessage(message, transfer),
    listen: (hear) => scope.addEventListener("message", ({ data }) => hear(data as Parameters<typeof hear>[0])),
  }
}

serve(lineOf(), { instantiate, tokenizer: (json, config) => new Tokenizer(json, config as Record<string, unknown>), read })
