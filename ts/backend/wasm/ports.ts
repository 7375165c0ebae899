/** Workers of a browser and of Node, alike. */
import { builtin, unavailable } from "./module.ts"
import type { FromWorker, ToWorker } from "./wire.ts"

interface BrowserWorker {
  postMessage(message: unknown, transfer: object[]): void
  addEventListener(type: string, hear: (event: { data?: unknown; message?: string; error?: unknown }) => void): void
  terminate(): void
}
type NodeWorker = import("node:worker_threads").Worker

declare const Worker: new (url: URL | string, options: { type: "module" }) => BrowserWorker

/** A Worker's outside: it is told things, heard, and may die, once. */
export interface Port {
  post(message: ToWorker, transfer: object[]): void
  listen(hear: (message: FromWorker) => void, died: (reason: string, cause?: unknown) => void): void
  /** Whether Node stays alive for it. */
  hold(on: boolean): void
  terminate(): Promise<unknown>
}

function nodePort(worker: NodeWorker): Port {
  worker.unref()
  return {
    post: (message, transfer) => worker.postMessage(message, transfer as ArrayBuffer[]),
    listen(hear, died) {
      worker.on("message", hear)
      worker.on("messageerror", (error) => died("a message could not be read", error))
      worker.on("error", (error) => died(error.message, error))
      worker.on("exit", (code) => died(`its Worker ended with code ${code}`))
    },
    hold: (on) => (on ? worker.ref() : worker.unref()),
    terminate: () => worker.terminate(),
  }
}

function browserPort(worker: BrowserWorker): Port {
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    listen(hear, died) {
      worker.addEventListener("message", ({ data }) => hear(data as FromWorker))
      worker.addEventListener("messageerror", () => died("a message could not be read"))
      // A script that cannot be loaded gives an event without any message.
      worker.addEventListener("error", ({ message, error }) => died(message || "its Worker's script could not be loaded", error))
    },
    hold() {},
    async terminate() {
      worker.terminate()
    },
  }
}

/** A Worker must come from the page's own origin; one that imports a script need not. */
function startForeign(url: URL): BrowserWorker {
  const source = new Blob([`import ${JSON.stringify(url.href)}`], { type: "text/javascript" })
  const blob = URL.createObjectURL(source)
  // The script is fetched by then, or never.
  setTimeout(() => URL.revokeObjectURL(blob), 60_000)
  return new Worker(blob, { type: "module" })
}

function startAt(place: string | URL): object {
  const threads = builtin<typeof import("node:worker_threads")>("node:worker_threads")
  // Flags of this process, such as --input-type, are not for a script of ours.
  if (threads) return new threads.Worker(/^[a-z]{2,}:/i.test(String(place)) ? new URL(place) : place, { execArgv: [] })
  const { location } = globalThis as unknown as { location: { href: string; origin: string } }
  const url = new URL(place, location.href)
  return url.origin === location.origin ? new Worker(url, { type: "module" }) : startForeign(url)
}

/** Starts the Worker that lies at a place, or that a function makes. */
export function startWorker(from: string | URL | (() => object)): Port {
  try {
    const worker = typeof from === "function" ? from() : startAt(from)
    return "addEventListener" in worker ? browserPort(worker as BrowserWorker) : nodePort(worker as NodeWorker)
  } catch (cause) {
    throw unavailable(`its Worker could not be started (${(cause as Error)?.message ?? cause})`, workerFix, cause)
  }
}

export const workerFix =
  "Give the option `worker` the place of this version's worker.js, a function that starts it, or false to do without."
