/** The backends of the native module. Of its own name: Rust kernels on the CPU, on threads of their own. */
import { type AbortFlag, type Addon, loadAddon, type NativeEngine } from "./addon.ts"
import type {
  Backend,
  BackendInfo,
  Engine,
  EngineInfo,
  EngineOptions,
  ProgramHandle,
  StateHandle,
  WeightsHandle,
  WeightsSource,
} from "./interface.ts"
import { refusalOf, translate } from "./refusals.ts"

/** Makes the call now, which keeps calls in order, and translates what it throws then or later. */
async function call<T>(make: () => Promise<T>): Promise<T> {
  try {
    return await make()
  } catch (error) {
    throw translate(error)
  }
}

class Native implements Engine {
  readonly #engine: NativeEngine
  readonly #flag: () => AbortFlag

  constructor(engine: NativeEngine, flag: () => AbortFlag) {
    this.#engine = engine
    this.#flag = flag
  }

  info(): EngineInfo {
    return JSON.parse(this.#engine.info()) as EngineInfo
  }

  weights({ files, tensors, mmap }: WeightsSource): Promise<WeightsHandle> {
    const buffers: Uint8Array[] = []
    const places = files.map((file) => (typeof file === "string" ? file : buffers.push(file as Uint8Array) - 1))
    return call(() => this.#engine.weights(JSON.stringify({ files: places, tensors, mmap }), buffers)) as Promise<WeightsHandle>
  }

  firstNonFinite(weights: WeightsHandle): Promise<string | null> {
    return call(() => this.#engine.firstNonFinite(weights))
  }

  load(plan: string, weights: WeightsHandle | null): Promise<ProgramHandle> {
    return call(() => this.#engine.load(plan, weights)) as Promise<ProgramHandle>
  }

  state(program: ProgramHandle): Promise<StateHandle> {
    return call(() => this.#engine.state(program)) as Promise<StateHandle>
  }

  async run(program: ProgramHandle, state: StateHandle | null, options: Parameters<Engine["run"]>[2] = {}): Promise<void> {
    const { steps = 1, signal } = options
    if (!signal) return call(() => this.#engine.run(program, state, steps))
    signal.throwIfAborted()
    const flag = this.#flag()
    const abort = (): void => flag.set()
    signal.addEventListener("abort", abort, { once: true })
    try {
      await this.#engine.run(program, state, steps, flag)
    } catch (error) {
      throw signal.aborted && refusalOf(error)?.code === "aborted" ? signal.reason : translate(error)
    } finally {
      signal.removeEventListener("abort", abort)
    }
  }

  copyState(to: StateHandle, from: StateHandle): Promise<void> {
    return call(() => this.#engine.copyState(to, from))
  }

  read(target: ProgramHandle | StateHandle, name: string): Promise<Uint8Array> {
    return call(() => this.#engine.read(target, name))
  }

  write(target: ProgramHandle | StateHandle, name: string, bytes: Uint8Array): Promise<void> {
    return call(() => this.#engine.write(target, name, bytes))
  }

  release(handle: WeightsHandle | ProgramHandle | StateHandle): void {
    this.#engine.release(handle)
  }

  dispose(): Promise<void> {
    return call(() => this.#engine.dispose())
  }
}

/**
 * The native backend, whose module is at `nativePath`, where the environment's STATESPACE_NATIVE says, in this machine's platform package or
 * in the repository's own build.
 * @throws BackendUnavailableError when there is none; PlanError when it does not belong to this version of the package
 */
export function loadNative(nativePath?: string): Backend {
  return backendOf(loadAddon(nativePath), "native", {}, translate)
}

/** A backend whose engines are opened with `fixed` options; `explain` says what a refusal to open one means. */
export function backendOf(addon: Addon, name: string, fixed: EngineOptions, explain: (error: unknown) => Error): Backend {
  return {
    name,
    info: () => ({ name, ...(JSON.parse(addon.info()) as Omit<BackendInfo, "name">) }),
    check: (plan) => JSON.parse(addon.check(plan)),
    async open(options = {}) {
      try {
        return new Native(addon.open(JSON.stringify({ ...fixed, ...options })), () => new addon.AbortFlag())
      } catch (error) {
        throw explain(error)
      }
    },
  }
}
