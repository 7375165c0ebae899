/** Which backends there are, and which of them is taken. */
import type { Backend } from "../backend/interface.ts"
import { BackendUnavailableError, type StatespaceError } from "../errors.ts"
import type { BackendName, BackendOptions, BackendStatus, Platform } from "../platform/types.ts"
import { version } from "./version.ts"

export type { BackendName, BackendStatus } from "../platform/types.ts"

export interface Info {
  version: string
  /** What backend "auto" takes, or undefined when none is available. */
  auto: string | undefined
  backends: BackendStatus[]
}

/** Backends in the order in which "auto" tries them. */
const all = ["cuda", "native", "wasm"] as const

/** Platforms that have warned, which each process has one of: the second model has the same reason as the first. */
const warned = new WeakSet<Platform>()

/** Backends that were tried with more than a look at the machine, and what came of it. */
export type Refused = Readonly<Record<string, StatespaceError>>

/** Most machines have no GPU, and nobody expects them to use one. */
function isAbsentGpu(refusal: StatespaceError): boolean {
  return refusal instanceof BackendUnavailableError && refusal.backend === "cuda" && refusal.code !== "BACKEND_DEVICE"
}

/**
 * The backend asked for, or the first that this machine has; then the caller hears once why it is not a better one.
 * @throws BackendUnavailableError with the reason, or with that of each
 */
export async function chooseBackend(
  platform: Platform,
  name: BackendName = "auto",
  options: BackendOptions & { quiet?: boolean | undefined } = {},
  refused: Refused = {},
): Promise<Backend> {
  const { quiet = false, ...places } = options
  if (name !== "auto") return platform.backend(name, places)
  const refusals: StatespaceError[] = Object.values(refused)
  for (const candidate of platform.order) {
    if (Object.hasOwn(refused, candidate)) continue
    try {
      const backend = await platform.backend(candidate, places)
      const first = refusals.find((refusal) => !isAbsentGpu(refusal))
      if (first !== undefined && !quiet && !warned.has(platform)) {
        warned.add(platform)
        const choice = `Or choose with backend: "${candidate}" or quiet: true, and this is not said again.`
        platform.warn(`Running on ${candidate}, which is slower. ${first.message} ${choice}`, "STATESPACE_FALLBACK")
      }
      return backend
    } catch (error) {
      if (!(error instanceof BackendUnavailableError)) throw error
      refusals.push(error)
    }
  }
  const [only, ...others] = refusals
  if (only !== undefined && others.length === 0) throw only
  throw new BackendUnavailableError("BACKEND_UNAVAILABLE", `No backend is available. ${refusals.map(({ message }) => message).join(" ")}`, {
    backend: name,
    fix: "One of these is enough.",
    cause: only,
  })
}

/** Each backend with the reason why it is not available, or not taken, or not as fast as it could be. */
export function makeInfo(platform: Platform): Info {
  const backends = all.map((name) => platform.status(name))
  const auto = platform.order.find((name) => backends.some((status) => status.name === name && status.available))
  for (const status of backends) {
    if (!status.available || status.name === auto || auto === undefined) continue
    status.note = [`auto takes ${auto}`, status.note].filter(Boolean).join("; ")
  }
  return { version, auto, backends }
}
