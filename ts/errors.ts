/**
 * Every refusal of this package is one of these classes: it names the thing, the reason (`message`) and the way out (`fix`). `code` is
 * stable and listed in `docs/errors.md`; switch on it rather than on the text.
 */
export interface ErrorOptions {
  /** What the caller can do about it, one sentence. */
  readonly fix: string
  readonly cause?: unknown
}

export class StatespaceError extends Error {
  /** Stable identifier, for example `OPTION_UNKNOWN`. */
  readonly code: string
  /** What the caller can do about it. */
  readonly fix: string
  constructor(code: string, message: string, options: ErrorOptions) {
    super(`${message} ${options.fix}`, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = new.target.name
    this.code = code
    this.fix = options.fix
  }
}

/** A wrong argument or option. */
export class OptionError extends StatespaceError {}
/** A checkpoint that cannot be read, or that contradicts itself. */
export class CheckpointError extends StatespaceError {}
/** A missing or broken tokenizer. */
export class TokenizerError extends StatespaceError {}
/** The hub refused or could not be reached. */
export class HubError extends StatespaceError {
  readonly status: number | undefined
  readonly url: string
  constructor(code: string, message: string, options: ErrorOptions & { status?: number; url: string }) {
    super(code, message, options)
    this.status = options.status
    this.url = options.url
  }
}

/** One finding of the plan validator. */
export interface PlanIssue {
  readonly code: string
  readonly node?: number
  readonly path?: string
  readonly message: string
}
/** A plan that the engine refuses. */
export class PlanError extends StatespaceError {
  readonly issues: readonly PlanIssue[]
  constructor(code: string, message: string, options: ErrorOptions & { issues: readonly PlanIssue[] }) {
    super(code, message, options)
    this.issues = options.issues
  }
}

/** The backend asked for is not on this machine. */
export class BackendUnavailableError extends StatespaceError {
  readonly backend: string
  constructor(code: string, message: string, options: ErrorOptions & { backend: string }) {
    super(code, message, options)
    this.backend = options.backend
  }
}
/** More memory would be needed than allowed; nothing was allocated. Sizes in bytes. */
export class MemoryLimitError extends StatespaceError {
  readonly needed: number
  readonly limit: number
  /** What needs most of it. */
  readonly largest: string
  constructor(code: string, message: string, options: ErrorOptions & { needed: number; limit: number; largest: string }) {
    super(code, message, options)
    this.needed = options.needed
    this.limit = options.limit
    this.largest = options.largest
  }
}
/** A snapshot that cannot be restored here. */
export class StateError extends StatespaceError {}
/** A second call while the first still runs on this session. */
export class SessionBusyError extends StatespaceError {}
/** The device or the engine failed while running. */
export class DeviceError extends StatespaceError {}
/** Use after `dispose()`. */
export class DisposedError extends StatespaceError {}
/** The engine panicked; its model must be loaded again. */
export class EngineCrashedError extends StatespaceError {}
/** Training could not start or go on. */
export class TrainingError extends StatespaceError {}
