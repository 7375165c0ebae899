/** `statespace plan [MODEL]`: the program that a model runs, without reading its weights. */
import type { CAC } from "cac"
import { count, type Flags, UsageError } from "./flags.ts"
import type { Terminal } from "./terminal.ts"

export function plan(cli: CAC): void {
  cli
    .command("plan [model]", "The program that a model runs: ops, shapes, bytes, flops, lifetimes")
    .option("--length <number>", "Tokens in one run (default 512); 1 is a step of generation")
    .option("--batch <number>", "Rows in one run (default 1)")
    .option("--compute <type>", "f32 or bf16")
    .option("--json", "The plan itself, as the engine gets it")
    .example("  $ statespace plan --length 512")
    .action(run)
}

async function run(terminal: Terminal, flags: Flags, source?: string): Promise<void> {
  const { compute = "f32" } = flags
  if (compute !== "f32" && compute !== "bf16") throw new UsageError(`--compute wants f32 or bf16, not ${compute}.`)
  const b = count(flags, "batch", 1)
  const l = count(flags, "length", 512)
  const [{ openCheckpoint }, { families }, { parseConfig }, { matchWeights }, { buildProgram }, { printPlan }] = await Promise.all([
    import("../io/source.ts"),
    import("../models/index.ts"),
    import("../run/model.ts"),
    import("../run/weights.ts"),
    import("../run/programs.ts"),
    import("../plan/print.ts"),
  ])
  const checkpoint = await openCheckpoint(source, { signal: terminal.signal, onProgress: terminal.progress })
  const model = parseConfig(checkpoint.config, families)
  const { table } = matchWeights(model, checkpoint)
  const program = buildProgram(model, table, l === 1 ? { kind: "step", b, compute } : { kind: "chunk", b, l, compute })
  if (terminal.json) terminal.record(program)
  else terminal.line(printPlan(program))
}
