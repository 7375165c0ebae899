/**
 * From words to typed flags. cac finds commands and options; values are read from the raw words, since its parser turns `--stop "\n"` into
 * the number 0.
 */
import type { CAC, Command } from "cac"
import { nearest } from "../options.ts"

/** Wrong usage: exit code 2. */
export class UsageError extends Error {}

/** Stands for the argument `-`, which cac's parser drops. No argument of a process can hold a NUL. */
const standardInput = "\0"

/** Flags as given: true for a switch, a string or number for a value, a list where an option may be repeated. */
export interface Flags {
  readonly [name: string]: string | number | bigint | boolean | readonly string[] | undefined
}

/** Options of every command that loads a model. */
export function modelOptions(command: Command): Command {
  return command
    .option("--model <source>", "Folder, file, URL or hub id; without it the embedded model answers")
    .option("--backend <name>", "auto, cuda, native or wasm")
    .option("--threads <number>", "Threads; the physical cores by default")
    .option("--compute <type>", "f32 or bf16")
}

/** Values of an option, as they stand on the command line. */
function values(words: readonly string[], flag: string): string[] {
  const found: string[] = []
  for (const [i, word] of words.entries()) {
    const next = words[i + 1]
    if (word === flag && next !== undefined) found.push(next)
    else if (word.startsWith(`${flag}=`)) found.push(word.slice(flag.length + 1))
  }
  return found
}

function number(flag: string, text: string): number | bigint {
  const value = text.trim() === "" ? Number.NaN : Number(text)
  if (Number.isNaN(value)) throw new UsageError(`${flag} wants a number, not ${JSON.stringify(text)}.`)
  return Number.isInteger(value) && !Number.isSafeInteger(value) && /^\d+$/.test(text) ? BigInt(text) : value
}

/** Flags of the matched command by name in camelCase, checked. */
function flagsOf(cli: CAC, command: Command, words: readonly string[]): Flags {
  const options = [...command.options, ...cli.globalCommand.options]
  const names = options.flatMap((option) => option.names)
  const flags: Record<string, Flags[string]> = {}
  for (const name of Object.keys(cli.options)) {
    if (name === "--") continue
    const option = options.find((option) => option.names.includes(name))
    if (!option) {
      const kebab = (text: string): string => `--${text.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`
      const near = nearest(name, names)
      throw new UsageError(`Unknown option ${kebab(name)}.${near ? ` Did you mean ${kebab(near)}?` : ""}`)
    }
    const flag = option.rawName.split(" ")[0] as string
    if (!option.required) {
      if (cli.options[name] === true) flags[option.name] = true
      continue
    }
    const given = values(words, flag)
    const last = given.at(-1)
    if (last === undefined || cli.options[name] === true) throw new UsageError(`${flag} wants a value.`)
    if (option.rawName.includes("<...")) flags[option.name] = given
    else if (given.length > 1) throw new UsageError(`${flag} is given ${given.length} times.`)
    else flags[option.name] = option.rawName.includes("<number>") ? number(flag, last) : last
  }
  return flags
}

/** A flag that counts something. */
export function count(flags: Flags, name: string, fallback: number): number {
  const value = flags[name] ?? fallback
  if (!Number.isInteger(value) || (value as number) < 1) throw new UsageError(`--${name} wants a whole number from 1, not ${value}.`)
  return value as number
}

/** What the command line asks for, or null when cac has printed help or the version. */
export function parse(cli: CAC, words: readonly string[]): { command: Command; args: (string | undefined)[]; flags: Flags } | null {
  const end = words.includes("--") ? words.indexOf("--") : words.length
  const marked = words.map((word, i) => (word === "-" && i < end ? standardInput : word))
  cli.parse(["node", "statespace", ...marked], { run: false })
  const { matchedCommand: command } = cli
  if (!command) {
    if (cli.options.help || cli.options.version) return null
    const word = cli.args[0]
    if (word === undefined) {
      cli.outputHelp()
      return null
    }
    const near = nearest(
      word,
      cli.commands.map((command) => command.name),
    )
    throw new UsageError(`Unknown command ${word}.${near ? ` Did you mean ${near}?` : ""} See statespace --help.`)
  }
  const flags = flagsOf(cli, command, words.slice(0, end))
  const args = [...cli.args, ...words.slice(end + 1)].map((arg) => (arg === standardInput ? "-" : arg))
  const missing = command.args.find((arg, i) => arg.required && args[i] === undefined)
  if (missing) throw new UsageError(`${command.name} wants ${missing.value}. See statespace ${command.name} --help.`)
  if (args.length > command.args.length) {
    throw new UsageError(`${command.name} does not take ${JSON.stringify(args[command.args.length])}; quote text that has spaces.`)
  }
  return { command, args, flags }
}
