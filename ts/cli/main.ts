#!/usr/bin/env node
/** The command line. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. */
import { readFileSync } from "node:fs"
import { cac } from "cac"
import { OptionError } from "../errors.ts"
import { bench } from "./bench.ts"
import { devices } from "./devices.ts"
import { embed } from "./embed.ts"
import { parse, UsageError } from "./flags.ts"
import { generate } from "./generate.ts"
import { info } from "./info.ts"
import { plan } from "./plan.ts"
import { score } from "./score.ts"
import { Terminal } from "./terminal.ts"

const interruption = new AbortController()

/** The first Ctrl-C ends the work in order, the second one at once. */
process.on("SIGINT", () => {
  if (interruption.signal.aborted) process.exit(130)
  interruption.abort()
})
/** Whoever read our output has seen enough. */
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error
  process.exit(0)
})

function fail(error: unknown): number {
  if (interruption.signal.aborted) return 130
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  return error instanceof UsageError || error instanceof OptionError ? 2 : 1
}

async function main(words: readonly string[]): Promise<number> {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string }
  const cli = cac("statespace").help().version(version)
  for (const register of [generate, score, embed, plan, info, devices, bench]) register(cli)
  try {
    const request = parse(cli, words)
    if (!request) return 0
    const { command, args, flags } = request
    await command.commandAction?.(new Terminal(flags.json === true, interruption.signal), flags, ...args)
    return interruption.signal.aborted ? 130 : 0
  } catch (error) {
    return fail(error)
  }
}

process.exitCode = await main(process.argv.slice(2))
