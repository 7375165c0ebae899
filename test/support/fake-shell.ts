/**
 * A shell without arithmetic, and Workers that are not: what drives the WebAssembly module, tested without it. A plan is what `load` makes of
 * its text: "trap" traps, "refuse" is refused, anything else is a program whose every step adds x to acc.
 */
import { serve } from "../../ts/backend/wasm/host.ts"
import type { Port } from "../../ts/backend/wasm/ports.ts"
import type { Instantiate, Shell, WasmEngine } from "../../ts/backend/wasm/shell.ts"
import type { FromWorker, ToWorker } from "../../ts/backend/wasm/wire.ts"
import { Tokenizer } from "../../ts/io/tokenizer.ts"
import { read } from "../../ts/io/web/reading.ts"

declare const WebAssembly: { RuntimeError: new (message: string) => Error }

export interface FakeShell extends Shell {
  /** Verbs in order. */
  log: string[]
  /** Milliseconds of work in each step. */
  pace: number
  freed: number
}

export function fakeShell(pace: number = 0): FakeShell {
  const log: string[] = []
  const objects = new Map<number, Uint8Array[]>()
  const sealed = new Set<number>()
  let count = 0
  const add = (...buffers: Uint8Array[]): number => {
    objects.set(++count, buffers)
    return count
  }
  const refuse = (code: string, message: string): never => {
    throw new Error(JSON.stringify({ code, message }))
  }
  const buffer = (handle: number, index: number): Uint8Array =>
    objects.get(handle)?.[index] ?? refuse("handle", `there is no object with handle ${handle}`)
  const float = (bytes: Uint8Array): Float32Array => new Float32Array(bytes.buffer)

  class Engine implements WasmEngine {
    readonly #options: { threads: number; isa?: string }
    #run: { x: Float32Array; acc: Float32Array; left: number } | undefined
    constructor(options: string) {
      this.#options = JSON.parse(options)
      if (this.#options.isa === "mmx") refuse("option", "isa is mmx; this machine has none")
    }
    pool(): number {
      return this.#options.threads > 1 ? 4096 : 0
    }
    info(): string {
      const held = [...objects.values()].flat().reduce((sum, { length }) => sum + length, 0)
      return JSON.stringify({
        isa: "none",
        threads: this.#options.threads,
        bytes: { weights: held, temp: 0, state: 0, io: 0, scratch: 0 },
      })
    }
    reserve(source: string): number {
      log.push("reserve")
      const { files } = JSON.parse(source) as { files: number[] }
      return add(...files.map((length) => new Uint8Array(length)))
    }
    fill(weights: number, file: number, offset: number, bytes: Uint8Array): void {
      log.push(`fill ${file} ${offset} ${bytes.length}`)
      buffer(weights, file).set(bytes, offset)
    }
    seal(weights: number): void {
      log.push("seal")
      sealed.add(weights)
    }
    firstNonFinite(): string | undefined {
      return undefined
    }
    load(plan: string, weights?: number): number {
      log.push(`load ${plan}`)
      if (plan === "trap") throw new WebAssembly.RuntimeError("unreachable")
      if (plan === "refuse")
        throw new Error(JSON.stringify({ code: "plan", message: "the plan is not valid", issues: [{ code: "bounds" }] }))
      if (weights !== undefined && !sealed.has(weights)) refuse("weights", "the weights are not whole")
      return add(new Uint8Array(4))
    }
    state(program: number): number {
      return add(new Uint8Array(buffer(program, 0).length))
    }
    start(program: number, state: number | undefined, steps: number): void {
      log.push(`start ${steps}`)
      if (this.#run) refuse("option", "a run has begun already")
      this.#run = { x: float(buffer(program, 0)), acc: float(buffer(state ?? 0, 0)), left: steps }
    }
    advance(): boolean {
      const run = this.#run ?? refuse("option", "no run has begun")
      const end = performance.now() + pace
      while (performance.now() < end);
      run.acc[0] = (run.acc[0] as number) + (run.x[0] as number)
      if (--run.left > 0) return false
      this.#run = undefined
      return true
    }
    cancel(): void {
      log.push("cancel")
      this.#run = undefined
    }
    copyState(to: number, from: number): void {
      buffer(to, 0).set(buffer(from, 0))
    }
    read(target: number, name: string): Uint8Array {
      return buffer(target, Number(name)).slice()
    }
    write(target: number, _name: string, bytes: Uint8Array): void {
      buffer(target, 0).set(bytes)
    }
    release(handle: number): void {
      log.push(`release ${handle}`)
      if (!objects.delete(handle)) refuse("handle", `there is no object with handle ${handle}`)
    }
    free(): void {
      shell.freed++
      objects.clear()
    }
  }
  const info = JSON.stringify({ version: "0", opset: "0", isas: ["none"], cores: 1 })
  const shell: FakeShell = { WasmEngine: Engine, info: () => info, check: () => "[]", memory: {}, log, pace, freed: 0 }
  return shell
}

export interface FakeWorker {
  port: Port
  /** As if its script ended or failed. */
  die(reason: string): void
  terminated: boolean
  /** Calls of `hold`, the last one last. */
  held: boolean[]
  /** What was posted to it. */
  heard: ToWorker[]
}

/** A Worker in this thread, between which and its owner every message is cloned. */
export function fakeWorker(shell: Shell): FakeWorker {
  const { port1, port2 } = new MessageChannel()
  port1.unref()
  port2.unref()
  const instantiate: Instantiate = async () => shell
  serve(
    {
      post: (message, transfer) => port2.postMessage(message, transfer as ArrayBuffer[]),
      listen: (hear) => void port2.on("message", hear),
    },
    { instantiate, tokenizer: (json, config) => new Tokenizer(json, config as Record<string, unknown>), read },
  )
  let died: (reason: string) => void = () => {}
  const worker: FakeWorker = {
    terminated: false,
    held: [],
    heard: [],
    die: (reason) => died(reason),
    port: {
      post(message, transfer) {
        worker.heard.push(message)
        port1.postMessage(message, transfer as ArrayBuffer[])
      },
      listen(hear, dead) {
        port1.on("message", (message: FromWorker) => worker.terminated || hear(message))
        died = dead
      },
      hold: (on) => worker.held.push(on),
      async terminate() {
        worker.terminated = true
        port1.close()
      },
    },
  }
  return worker
}
