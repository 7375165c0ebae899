/** Plans of Mamba models of known sizes, without any checkpoint. */
import type { LanguageModel, TensorTable } from "../../ts/models/family.ts"
import { mamba } from "../../ts/models/mamba.ts"
import type { Plan } from "../../ts/plan/types.ts"
import { buildProgram, type ProgramSpec } from "../../ts/run/programs.ts"

const config = (hidden_size: number, num_hidden_layers: number, vocab_size: number, more: object = {}): Record<string, unknown> => ({
  ...{ model_type: "mamba", hidden_size, num_hidden_layers, vocab_size, ...more },
})

export const configs: Record<string, Record<string, unknown>> = {
  tiny: config(8, 2, 21, { state_size: 4, time_step_rank: 2 }),
  odd: config(20, 2, 33, { state_size: 3, expand: 3, conv_kernel: 1, use_bias: true, use_conv_bias: false, tie_word_embeddings: false }),
  "2.8m": config(192, 8, 4096),
  "130m": config(768, 24, 50280),
}

/** Every tensor that the model must have, all of one dtype. */
export function tableOf(model: LanguageModel, dtype: "f32" | "bf16" | "f16" = "bf16"): TensorTable {
  return new Map(model.weights.filter(({ optional }) => !optional).map(({ key, shape }) => [key, { dtype, shape }]))
}

export function planOf(name: string, spec: ProgramSpec): Plan {
  const model = mamba.parse(configs[name] as Record<string, unknown>)
  return buildProgram(model, tableOf(model), spec)
}

/** Each kind of program, with every option. */
export const specs: Record<string, ProgramSpec> = {
  chunk: { kind: "chunk", b: 2, l: 5 },
  "chunk-logits": { kind: "chunk", b: 1, l: 5, logits: true, compute: "bf16" },
  "chunk-score": { kind: "chunk", b: 1, l: 5, targets: true },
  "chunk-look": { kind: "chunk", b: 1, l: 5, logits: true, hidden: true, pool: true, capture: ["dt", "B", "C"] },
  logits: { kind: "logits", b: 1 },
  step: { kind: "step", b: 2 },
  sample: { kind: "sample", b: 1 },
}

/** JSON with one buffer, node or weight a line, so that a change shows as the lines that it changes. */
export function planText(plan: Plan): string {
  const line = (value: unknown): string => `    ${JSON.stringify(value)}`
  const entries = Object.entries(plan).map(([key, value]) => {
    if (!Array.isArray(value) || value.length === 0) return `  ${JSON.stringify(key)}: ${JSON.stringify(value)}`
    return `  ${JSON.stringify(key)}: [\n${value.map(line).join(",\n")}\n  ]`
  })
  return `{\n${entries.join(",\n")}\n}\n`
}
