/** The backend of the native module on NVIDIA GPUs. */
import { BackendUnavailableError, type StatespaceError } from "../errors.ts"
import { type Addon, loadAddon } from "./addon.ts"
import type { Backend, DeviceInfo } from "./interface.ts"
import { backendOf } from "./native.ts"
import { refusalOf, translate } from "./refusals.ts"

const elsewhere = 'Use backend: "auto", "native" or "wasm".'

/** What a refusal says about the machine; other errors are what they are. */
function explained(error: unknown): StatespaceError {
  const refusal = refusalOf(error)
  if (refusal?.code !== "no_device" && refusal?.code !== "device") return translate(error)
  const [code, fix] =
    refusal.code === "no_device"
      ? ["BACKEND_UNAVAILABLE", elsewhere]
      : ["BACKEND_DEVICE", "Update NVIDIA's driver or free the GPU, or use another backend."]
  return new BackendUnavailableError(code, `The cuda backend is not available: ${refusal.message}.`, { backend: "cuda", fix, cause: error })
}

function addonOf(nativePath: string | undefined): Addon {
  try {
    return loadAddon(nativePath)
  } catch (error) {
    if (!(error instanceof BackendUnavailableError)) throw error
    const message = `The cuda backend is part of the native module. ${error.message}`
    throw new BackendUnavailableError("BACKEND_UNAVAILABLE", message, { backend: "cuda", fix: error.fix, cause: error })
  }
}

function listed(addon: Addon): DeviceInfo[] {
  try {
    return JSON.parse(addon.devices()) as DeviceInfo[]
  } catch (error) {
    throw explained(error)
  }
}

/**
 * The GPUs of this machine, at least one.
 * @throws BackendUnavailableError when there is none; its code is BACKEND_DEVICE when there is one of no use
 */
export function cudaDevices(nativePath?: string): DeviceInfo[] {
  return listed(addonOf(nativePath))
}

/**
 * The cuda backend. Its engines are on the first GPU unless the option `device` names another.
 * @throws BackendUnavailableError as `cudaDevices` does, and when the GPU cannot be opened
 */
export function loadCuda(nativePath?: string): Backend {
  const addon = addonOf(nativePath)
  const devices = listed(addon)
  const backend = backendOf(addon, "cuda", { executor: "cuda" }, explained)
  return { ...backend, info: () => ({ ...backend.info(), isas: [], devices }) }
}
