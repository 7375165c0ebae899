/** Which backends there are, and which of them this machine has. */
import type { Backend } from "../backend/interface.ts"
import { loadNative } from "../backend/native.ts"
import { BackendUnavailableError, StatespaceError } from "../errors.ts"
import { version } from "./version.ts"

export type BackendName = "auto" | "native" | "wasm" | "cuda"

/** The backend asked for. Throws BackendUnavailableError with the reason when this machine has none. */
export function chooseBackend(name: BackendName = "auto", nativePath?: string): Backend {
  if (name === "wasm" || name === "cuda") {
    throw new BackendUnavailableError("BACKEND_UNAVAILABLE", `This release has no ${name} backend.`, {
      backend: name,
      fix: 'Use backend: "native" or "auto".',
    })
  }
  return loadNative(nativePath)
}

export interface BackendStatus {
  name: string
  available: boolean
  /** Why not. */
  reason?: string
  /** Instruction sets that can be forced, best first. */
  isas?: string[]
  /** Physical cores. */
  cores?: number
}

export interface Info {
  version: string
  /** What backend "auto" takes, or undefined when none is available. */
  auto: string | undefined
  backends: BackendStatus[]
}

function status(name: BackendName): BackendStatus {
  try {
    const { isas, cores } = chooseBackend(name).info()
    return { name, available: true, isas, cores }
  } catch (error) {
    if (!(error instanceof StatespaceError)) throw error
    return { name, available: false, reason: error.message }
  }
}

/** Backends in the order in which "auto" tries them, each with the reason if it is not available. */
export function info(): Info {
  const backends = (["cuda", "native", "wasm"] as const).map(status)
  return { version, auto: backends.find(({ available }) => available)?.name, backends }
}
