/** Runs the command line from its sources, as a process of its own. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))
const command = ["--import", "tsx", "ts/cli/main.ts"]

export interface Outcome {
  code: number | null
  stdout: string
  stderr: string
}

export function cli(words: readonly string[], options: { input?: string; env?: NodeJS.ProcessEnv } = {}): Outcome {
  const { input = "", env } = options
  const { status, stdout, stderr } = spawnSync(process.execPath, [...command, ...words], {
    cwd: root,
    input,
    encoding: "utf8",
    env: { ...process.env, ...env },
  })
  return { code: status, stdout, stderr }
}

/** Starts the command line and hands the running process to `body` at its first output. */
export function interrupted(words: readonly string[], body: (child: ChildProcess) => void): Promise<Outcome> {
  const child = spawn(process.execPath, [...command, ...words], { cwd: root, stdio: ["ignore", "pipe", "pipe"] })
  const outcome: Outcome = { code: null, stdout: "", stderr: "" }
  child.stdout.once("data", () => body(child))
  child.stdout.on("data", (piece) => {
    outcome.stdout += piece
  })
  child.stderr.on("data", (piece) => {
    outcome.stderr += piece
  })
  return new Promise((resolve) => child.on("close", (code) => resolve({ ...outcome, code })))
}
