/** `statespace devices`: which backends this machine has, and why it lacks the others. */
import type { CAC } from "cac"
import type { Flags } from "./flags.ts"
import { megabytes, type Terminal } from "./terminal.ts"

export function devices(cli: CAC): void {
  cli.command("devices", "Backends of this machine, and why it lacks the others").option("--json", "One line of JSON a backend").action(run)
}

async function run(terminal: Terminal, _flags: Flags): Promise<void> {
  const { info } = await import("../index.ts")
  const { auto, backends } = info()
  if (terminal.json) {
    for (const backend of backends) terminal.record({ ...backend, auto: backend.name === auto })
    return
  }
  terminal.table(
    backends.map(({ name, available, reason, note, isas, cores, devices = [] }) => {
      const parts = [
        isas === undefined ? undefined : `${cores} cores, ${isas.join(", ")}`,
        ...devices.map(({ index, name: gpu, memory, capability, driver }) => {
          return `${index}: ${gpu}, ${megabytes(memory)}, compute capability ${capability}, CUDA ${driver}`
        }),
        note,
        name === auto && `taken by auto${devices.length > 0 ? " if the model fits" : ""}`,
      ]
      return [name, available ? parts.filter(Boolean).join("; ") : (reason ?? "not available")]
    }),
  )
}
