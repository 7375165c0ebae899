/** Refusals of the Rust engine, which cross the FFI as JSON in the message of an error, as classes of this package. */
import {
  CheckpointError,
  DeviceError,
  DisposedError,
  EngineCrashedError,
  OptionError,
  PlanError,
  type PlanIssue,
  StateError,
  type StatespaceError,
} from "../errors.ts"

interface Refusal {
  code: string
  message: string
  issues?: PlanIssue[]
}

interface Row {
  type: new (code: string, message: string, options: { fix: string }) => StatespaceError
  code: string
  fix: string
}

const oneVersion = "Use one version of the package throughout."
const report = "Please report it: the engine and not the call is at fault."

/** By code of `crates/engine/src/error.rs`. */
const rows: Readonly<Record<string, Row>> = {
  weights: {
    type: CheckpointError,
    code: "CHECKPOINT_TENSOR",
    fix: "Get the checkpoint again, or correct where its tensors are said to lie.",
  },
  file: { type: CheckpointError, code: "CHECKPOINT_READ", fix: "Check its permissions, and that it is a file." },
  memory: { type: DeviceError, code: "DEVICE_MEMORY", fix: "Ask for less at once, or free memory." },
  no_device: { type: DeviceError, code: "DEVICE_GPU", fix: "Use another backend." },
  device: { type: DeviceError, code: "DEVICE_GPU", fix: "Load it again; where that does not help, use another backend." },
  aborted: { type: DisposedError, code: "DISPOSED", fix: "Open another." },
  disposed: { type: DisposedError, code: "DISPOSED", fix: "Open another." },
  token_range: { type: OptionError, code: "TOKEN_ID_INVALID", fix: "Encode the text with this model's tokenizer." },
  state_layout: { type: StateError, code: "STATE_LAYOUT", fix: "Use a state made for this program or for one of equal layout." },
  handle: { type: DeviceError, code: "DEVICE_HANDLE", fix: "Use handles of this engine that were not released." },
  guard: { type: DeviceError, code: "DEVICE_GUARD", fix: report },
  crashed: { type: EngineCrashedError, code: "ENGINE_CRASHED", fix: "Open another engine and load everything again." },
  option: { type: OptionError, code: "OPTION_RANGE", fix: "Give a value within what the message says." },
}

/** The error's JSON, if it came from the engine. */
export function refusalOf(error: unknown): Refusal | null {
  try {
    const refusal = JSON.parse((error as Error).message) as Refusal
    return typeof refusal.code === "string" && typeof refusal.message === "string" ? refusal : null
  } catch {
    return null
  }
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
}

/** What a caller gets to see of an error from `module`. */
export function translate(error: unknown, module: string = "the native module"): StatespaceError {
  const refusal = refusalOf(error)
  const row = refusal && rows[refusal.code]
  if (row) return new row.type(row.code, sentence(refusal.message), { fix: row.fix })
  if (refusal?.issues) {
    const code = refusal.code === "opset" ? "PLAN_OPSET" : "PLAN_INVALID"
    return new PlanError(code, sentence(refusal.message), { fix: oneVersion, issues: refusal.issues })
  }
  return new DeviceError("DEVICE_FAILED", sentence(`${module} failed: ${(error as Error).message}`), { fix: report, cause: error })
}
