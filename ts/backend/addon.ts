/** The native module: what it exports, and where it is found. */
import { createRequire } from "node:module"
import { resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { BackendUnavailableError, PlanError } from "../errors.ts"
import { opset } from "../plan/lower.ts"

/** Ends the run that it was given to. */
export interface AbortFlag {
  set(): void
}

export interface NativeEngine {
  info(): string
  weights(source: string, buffers: Uint8Array[]): Promise<number>
  firstNonFinite(weights: number): Promise<string | null>
  load(plan: string, weights: number | null): Promise<number>
  state(program: number): Promise<number>
  run(program: number, state: number | null, steps: number, abort?: AbortFlag): Promise<void>
  copyState(to: number, from: number): Promise<void>
  read(target: number, name: string): Promise<Uint8Array>
  write(target: number, name: string, bytes: Uint8Array): Promise<void>
  release(handle: number): void
  dispose(): Promise<void>
}

export interface Addon {
  info(): string
  /** Throws what says why there is no GPU. */
  devices(): string
  check(plan: string): string
  open(options: string): NativeEngine
  AbortFlag: new () => AbortFlag
}

const require: NodeJS.Require = createRequire(import.meta.url)

// Written out, so that bundlers see which packages there may be.
const packages: Readonly<Record<string, () => unknown>> = {
  "linux-x64-gnu": () => require("@statespace/linux-x64-gnu"),
  "linux-arm64-gnu": () => require("@statespace/linux-arm64-gnu"),
  "darwin-arm64": () => require("@statespace/darwin-arm64"),
  "win32-x64": () => require("@statespace/win32-x64"),
}

interface Place {
  where: string
  open(): unknown
}

function places(path: string | undefined): Place[] {
  if (path !== undefined) return [{ where: path, open: () => require(resolve(path)) }]
  const machine = `${process.platform}-${process.arch}`
  const names = process.platform === "linux" ? [`${machine}-gnu`, `${machine}-musl`] : [machine]
  const installed = names.flatMap((name) => {
    const open = packages[name]
    return open ? [{ where: `@statespace/${name}`, open }] : []
  })
  // Two levels up, from ts/backend/ and from dist/backend/ alike.
  const built = names.map((name) => {
    const file = `npm/${name}/statespace.node`
    return { where: file, open: () => require(fileURLToPath(new URL(`../../${file}`, import.meta.url))) }
  })
  return [...installed, ...built]
}

function firstLine(error: unknown): string {
  return String((error as Error)?.message ?? error).split("\n", 1)[0] as string
}

/**
 * The module at `path` (else where STATESPACE_NATIVE says), or the first that loads of this machine's platform package and the build in the
 * repository.
 * @throws BackendUnavailableError with every attempt in its `cause`; PlanError when the module has another op table than this package
 */
export function loadAddon(path: string | undefined = process.env.STATESPACE_NATIVE || undefined): Addon {
  const failures: { where: string; error: unknown }[] = []
  for (const { where, open } of places(path)) {
    let addon: Addon
    let found: string
    try {
      addon = open() as Addon
      found = (JSON.parse(addon.info()) as { opset: string }).opset
    } catch (error) {
      failures.push({ where, error })
      continue
    }
    if (found === opset) return addon
    const message = `The native module ${where} has the op table ${found}; this package has ${opset}.`
    const fix =
      path === undefined ? "Install the same version of both; in the repository, run npm run build." : "Build it again from this version."
    throw new PlanError("PLAN_OPSET", message, { fix, issues: [{ code: "opset", path: "opset", message }] })
  }
  const tried = failures.map(({ where, error }) => `${where} (${firstLine(error)})`).join(", ")
  throw new BackendUnavailableError("BACKEND_UNAVAILABLE", `There is no native module for ${process.platform}-${process.arch}: ${tried}.`, {
    backend: "native",
    fix: "Install statespace with its optional dependencies, or give nativePath or STATESPACE_NATIVE a module built for this machine.",
    cause: new AggregateError(failures.map(({ error }) => error)),
  })
}
