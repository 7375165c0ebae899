/** The backend of the WebAssembly module, the same in Node and in browsers. */
import { PlanError } from "../../errors.ts"
import { opset } from "../../plan/lower.ts"
import type { Backend, BackendInfo, EngineOptions } from "../interface.ts"
import type { WasmAssets } from "./assets.ts"
import { Direct } from "./direct.ts"
import { compile, defaultThreads, relaxedSimd, sharingMissing, unavailable, wasmFix } from "./module.ts"
import { startWorker, workerFix } from "./ports.ts"
import { openRemote } from "./remote.ts"
import { type Artefact, instantiate, type Shell } from "./shell.ts"

export type { WasmAssets } from "./assets.ts"
export { defaultThreads, instructionSets, relaxedSimd, sharingMissing, wasmMissing } from "./module.ts"

export interface WasmOptions {
  /** The module: its URL or path, a Response, its bytes, or a WebAssembly.Module. */
  wasm?: string | URL | object | undefined
  /** The Worker that computes: its script, a function that starts it, or false to compute in this thread, which then is not free. */
  worker?: string | URL | (() => object) | false | undefined
  /** Default: see `defaultThreads`. More than one need shared memory and Workers; elsewhere it is one. */
  threads?: number | undefined
}

interface Inspected {
  artefact: Artefact
  /** An instance that answers what needs no engine. */
  shell: Shell
  info: Omit<BackendInfo, "name">
}

/** Compiles a module and asks it who it is; it must speak this package's op table. */
async function inspect(source: string | URL | object): Promise<Inspected> {
  const artefact = await compile(source)
  const shell = await instantiate(artefact)
  const info = JSON.parse(shell.info()) as Inspected["info"]
  if (info.opset === opset) return { artefact, shell, info }
  const message = `The WebAssembly module has the op table ${info.opset}; this package has ${opset}.`
  const fix = "Use the module of the same version; in the repository, run npm run build."
  throw new PlanError("PLAN_OPSET", message, { fix, issues: [{ code: "opset", path: "opset", message }] })
}

/** By address: a second model neither fetches nor compiles again. */
const inspected = new Map<string, Promise<Inspected>>()

function inspectOnce(source: string | URL | object): Promise<Inspected> {
  if (typeof source !== "string" && !(source instanceof URL)) return inspect(source)
  const known = inspected.get(String(source))
  if (known) return known
  const fresh = inspect(source)
  inspected.set(String(source), fresh)
  fresh.catch(() => inspected.delete(String(source)))
  return fresh
}

/**
 * The wasm backend. `assets` say where its parts lie unless the options do.
 * @throws BackendUnavailableError when this environment cannot run it or a part is missing; PlanError when the module does not belong to this
 * version of the package
 */
export async function loadWasm(options: WasmOptions = {}, assets?: WasmAssets): Promise<Backend> {
  const most = options.worker === false || sharingMissing() ? 1 : (options.threads ?? defaultThreads())
  const source = options.wasm ?? assets?.wasm(most > 1, relaxedSimd())
  const worker = options.worker ?? assets?.worker()
  if (source === undefined) throw unavailable("it was not said where its module lies", wasmFix)
  if (worker === undefined) throw unavailable("it was not said where its Worker lies", workerFix)
  const { artefact, shell, info } = await inspectOnce(source)
  const threads = artefact.threads ? most : 1
  return {
    name: "wasm",
    info: () => ({ name: "wasm", ...info, cores: threads }),
    check: (plan) => JSON.parse(shell.check(plan)),
    async open(given: EngineOptions = {}) {
      const wanted = given.threads ?? threads
      const count = artefact.threads && worker !== false ? wanted : Math.min(wanted, 1)
      if (worker !== false) return openRemote(artefact, given, count, () => startWorker(worker))
      return new Direct(await instantiate(artefact), { ...given, threads: count })
    },
  }
}
