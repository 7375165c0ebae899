/** Matches the tensors of a checkpoint with what a family declares, by canonical name or alias. */
import type { TensorSource } from "../backend/interface.ts"
import { CheckpointError } from "../errors.ts"
import type { Checkpoint } from "../io/types.ts"
import type { LanguageModel, TensorTable, WeightSpec } from "../models/family.ts"

const show = (shape: readonly number[]): string => `[${shape.join(", ")}]`
const list = (names: readonly string[]): string =>
  names.length > 8 ? `${names.slice(0, 8).join(", ")} and ${names.length - 8} more` : names.join(", ")

export interface MatchedWeights {
  /** By canonical name, in the family's order; without what the family does not use. */
  tensors: TensorSource[]
  table: TensorTable
}

const namesOf = (spec: WeightSpec): string[] => [spec.key, ...(spec.aliases ?? [])]

function find(spec: WeightSpec, byName: ReadonlyMap<string, TensorSource>): TensorSource | undefined {
  const names = namesOf(spec).filter((name) => byName.has(name))
  if (names.length > 1) {
    throw new CheckpointError("CHECKPOINT_DUPLICATE", `The checkpoint holds one tensor under ${names.length} names: ${names.join(", ")}.`, {
      fix: "Keep one of them.",
    })
  }
  return names[0] === undefined ? undefined : byName.get(names[0])
}

/** Throws CheckpointError that lists all missing, else all unexpected tensors, or names the one of wrong shape or dtype with what was expected. */
export function matchWeights(model: LanguageModel, { tensors, unsupported }: Pick<Checkpoint, "tensors" | "unsupported">): MatchedWeights {
  const left = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  const unread = new Map(unsupported.map((tensor) => [tensor.name, tensor]))
  const matched: TensorSource[] = []
  const table = new Map<string, { dtype: "f32" | "bf16" | "f16"; shape: readonly number[] }>()
  const missing: string[] = []
  for (const spec of model.weights) {
    for (const name of namesOf(spec)) {
      const dtype = unread.get(name)?.dtype
      if (dtype === undefined) continue
      throw new CheckpointError("CHECKPOINT_DTYPE", `Tensor ${name} is ${dtype}; expected F32, BF16 or F16.`, {
        fix: "Convert the checkpoint to one of these.",
      })
    }
    const tensor = find(spec, left)
    if (tensor === undefined) {
      if (!spec.optional) missing.push(spec.key)
      continue
    }
    left.delete(tensor.name)
    if (tensor.shape.length !== spec.shape.length || tensor.shape.some((size, axis) => size !== spec.shape[axis])) {
      throw new CheckpointError(
        "CHECKPOINT_SHAPE",
        `Tensor ${tensor.name} has shape ${show(tensor.shape)}; config.json asks for ${show(spec.shape)}.`,
        {
          fix: "Use the config.json that belongs to these weights.",
        },
      )
    }
    if (spec.unused) continue
    matched.push({ ...tensor, name: spec.key })
    table.set(spec.key, { dtype: tensor.dtype as "f32" | "bf16" | "f16", shape: tensor.shape })
  }
  if (missing.length > 0) {
    throw new CheckpointError("CHECKPOINT_MISSING", `${missing.length} tensors of ${model.family} are missing: ${list(missing)}.`, {
      fix: "Use the complete checkpoint and the config.json that belongs to it.",
    })
  }
  const extra = [...left.keys(), ...unread.keys()]
  if (extra.length > 0) {
    throw new CheckpointError("CHECKPOINT_UNEXPECTED", `${extra.length} tensors are not part of ${model.family}: ${list(extra)}.`, {
      fix: "Use the config.json that belongs to these weights; a tensor that is left out would change the answer.",
    })
  }
  return { tensors: matched, table }
}
