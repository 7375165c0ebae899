/** From what a caller has (a URL, a Response, bytes, a module) to a compiled module, and what the platform lets it do. */
import { BackendUnavailableError } from "../../errors.ts"
import type { Artefact } from "./shell.ts"

declare const WebAssembly: {
  Module: {
    new (): object
    imports(module: object): { kind: string }[]
  }
  validate(bytes: Uint8Array): boolean
  compile(bytes: ArrayBuffer | ArrayBufferView): Promise<object>
  compileStreaming?(response: Response): Promise<object>
}

/** A module of one function that returns a vector; `body` declares its variables and computes. */
function probe(...body: number[]): Uint8Array {
  const head = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7b, 3, 2, 1, 0]
  return Uint8Array.of(...head, ...[10, body.length + 2, 1, body.length], ...body)
}
/** (i32x4.splat (i32.const 0)) */
const simdProbe = probe(0, ...[0x41, 0], ...[0xfd, 0x11], 0x0b)
/** (local v128) (f32x4.relaxed_madd (local.get 0) (local.get 0) (local.get 0)) */
const relaxedProbe = probe(1, 1, 0x7b, ...[0x20, 0], ...[0x20, 0], ...[0x20, 0], ...[0xfd, 0x85, 0x02], 0x0b)

export const wasmFix = "Give the option `wasm` the URL, the Response, the bytes or the WebAssembly.Module of this version's engine.wasm."

export function unavailable(reason: string, fix: string, cause?: unknown): BackendUnavailableError {
  return new BackendUnavailableError("BACKEND_UNAVAILABLE", `The wasm backend is not available: ${reason}.`, {
    backend: "wasm",
    fix,
    cause,
  })
}

/** Node's own modules without an import, which bundlers would follow; undefined elsewhere. */
export function builtin<T>(name: string): T | undefined {
  const { process } = globalThis as { process?: { getBuiltinModule?(name: string): unknown } }
  return process?.getBuiltinModule?.(name) as T | undefined
}

/** Why this machine cannot run the module at all, or undefined. */
export function wasmMissing(): string | undefined {
  if (typeof WebAssembly !== "object") return "this environment has no WebAssembly"
  return WebAssembly.validate(simdProbe) ? undefined : "this environment's WebAssembly has no SIMD instructions"
}

/** Whether it takes the module whose vectors multiply and add in one instruction. */
export function relaxedSimd(): boolean {
  return typeof WebAssembly === "object" && WebAssembly.validate(relaxedProbe)
}

/** Instruction sets of the modules that this environment takes, best first. */
export function instructionSets(): string[] {
  return relaxedSimd() ? ["relaxed-simd", "simd128"] : ["simd128"]
}

/** Why Workers cannot share memory here, or undefined. */
export function sharingMissing(): string | undefined {
  if (builtin("node:worker_threads") !== undefined) return undefined
  const { crossOriginIsolated } = globalThis as { crossOriginIsolated?: boolean }
  if (typeof SharedArrayBuffer === "function" && crossOriginIsolated === true) return undefined
  return "the page is not cross-origin isolated (headers Cross-Origin-Opener-Policy and Cross-Origin-Embedder-Policy)"
}

/** Threads to use unless told otherwise. Platforms tell the logical cores; two threads on one core only take cache from each other. */
export function defaultThreads(): number {
  const { navigator } = globalThis as { navigator?: { hardwareConcurrency?: number } }
  const logical = builtin<typeof import("node:os")>("node:os")?.availableParallelism() ?? navigator?.hardwareConcurrency ?? 1
  return Math.max(Math.min(logical, 2), logical >> 1)
}

const isModule = (value: object): boolean => Object.prototype.toString.call(value) === "[object WebAssembly.Module]"
const isResponse = (value: object): value is Response => Object.prototype.toString.call(value) === "[object Response]"

async function compileResponse(response: Response): Promise<object> {
  if (!response.ok) throw new Error(`${response.url || "the response"} answered ${response.status}`)
  // Streaming insists on the type; a server that gives another is common enough.
  const streams = WebAssembly.compileStreaming && response.headers.get("content-type")?.startsWith("application/wasm")
  return streams ? (WebAssembly.compileStreaming?.(response) as Promise<object>) : WebAssembly.compile(await response.arrayBuffer())
}

async function compilePlace(place: string | URL): Promise<object> {
  const fs = builtin<typeof import("node:fs/promises")>("node:fs/promises")
  const local = fs !== undefined && !/^(https?|data|blob):/i.test(String(place))
  if (!local) return compileResponse(await fetch(place))
  return WebAssembly.compile(await fs.readFile(/^file:/i.test(String(place)) ? new URL(place) : place))
}

/**
 * The module and which build it is.
 * @throws BackendUnavailableError when there is no module there, or this environment cannot run it
 */
export async function compile(source: string | URL | object): Promise<Artefact> {
  const missing = wasmMissing()
  if (missing) throw unavailable(missing, "Use a browser of 2023 or later, or Node 20.")
  let module: object
  try {
    const given = await source
    if (typeof given === "string" || given instanceof URL) module = await compilePlace(given)
    else if (isModule(given)) module = given
    else module = await (isResponse(given) ? compileResponse(given) : WebAssembly.compile(given as ArrayBuffer))
  } catch (cause) {
    const place = typeof source === "string" || source instanceof URL ? `the module at ${source}` : "the module that was given"
    throw unavailable(`${place} cannot be compiled (${(cause as Error)?.message ?? cause})`, wasmFix, cause)
  }
  const threads = WebAssembly.Module.imports(module).some(({ kind }) => kind === "memory")
  const alone = threads && sharingMissing()
  if (alone) throw unavailable(alone, "Give the module without threads, engine.wasm, or serve the page with both headers.")
  return { module, threads }
}
