/** `bindings/wasm`, as TypeScript sees it. A refusal is thrown as an error whose message is the JSON of the engine's. */
import { unavailable } from "./module.ts"

export interface WasmEngine {
  /** What a helper thread takes, 0 when there is to be none. */
  pool(): number
  /** EngineInfo as JSON. */
  info(): string
  /** Room for a checkpoint, given as JSON `{ files: bytes[], tensors }`; a handle of weights that are still to be filled and sealed. */
  reserve(source: string): number
  fill(weights: number, file: number, offset: number, bytes: Uint8Array): void
  seal(weights: number): void
  firstNonFinite(weights: number): string | undefined
  load(plan: string, weights?: number): number
  state(program: number): number
  /** Begins a run; there is one at a time. */
  start(program: number, state: number | undefined, steps: number): void
  /** Does the next piece of it, which takes milliseconds; true when it is done. */
  advance(): boolean
  /** Forgets the run that was begun. */
  cancel(): void
  copyState(to: number, from: number): void
  read(target: number, name: string): Uint8Array
  write(target: number, name: string, bytes: Uint8Array): void
  release(handle: number): void
  free(): void
}

/** An instance of the module, with memory of its own unless it was given another's. */
export interface Shell {
  WasmEngine: new (options: string) => WasmEngine
  /** Version, op table and instruction sets as JSON. */
  info(): string
  /** Findings of the validator as JSON. */
  check(plan: string): string
  /** Of the build with threads: takes parts of nodes until the engine is freed. */
  workThread?(pool: number, part: number): void
  memory: object
}

/** A compiled module and which glue it needs, which is the same with relaxed instructions and without. */
export interface Artefact {
  module: object
  /** Its memory is shared, and the engine may have helper threads. */
  threads: boolean
}

export type Instantiate = (artefact: Artefact, memory?: object) => Promise<Shell>

async function glueOf(threads: boolean): Promise<{ instantiate(options: { module: object; memory?: object }): object }> {
  try {
    return threads ? await import("#wasm/engine-threads") : await import("#wasm/engine")
  } catch (cause) {
    throw unavailable(
      `the module's glue cannot be loaded (${(cause as Error).message})`,
      "In the repository, run npm run build:wasm.",
      cause,
    )
  }
}

export const instantiate: Instantiate = async ({ module, threads }, memory) => {
  const glue = await glueOf(threads)
  return glue.instantiate({ module, ...(memory && { memory }) }) as Shell
}
