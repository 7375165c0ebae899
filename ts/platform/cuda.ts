/** Why no platform has CUDA yet. */
import { BackendUnavailableError } from "../errors.ts"

export function cudaMissing(): BackendUnavailableError {
  return new BackendUnavailableError("BACKEND_UNAVAILABLE", "This release has no cuda backend.", {
    backend: "cuda",
    fix: 'Use backend: "auto", "native" or "wasm".',
  })
}
