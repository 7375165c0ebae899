/** A loaded model: text and ids in, text, scores, vectors and sessions out. */
import type { AsyncEncoder, Backend, Engine, EngineInfo, EngineOptions, TensorSource, WeightsHandle } from "../backend/interface.ts"
import { CheckpointError, DisposedError, MemoryLimitError, TokenizerError } from "../errors.ts"
import { Edges } from "../io/edges.ts"
import { handOver } from "../io/handover.ts"
import type { Tokenizer } from "../io/tokenizer.ts"
import type { Checkpoint } from "../io/types.ts"
import type { Family, LanguageModel } from "../models/family.ts"
import type { Generation } from "./decode.ts"
import { modelFingerprint } from "./fingerprint.ts"
import { IdReader, isIds } from "./ids.ts"
import { embed, forward, score } from "./passes.ts"
import { firstPlans, gpuSpace, programRoom, wasmSpace } from "./room.ts"
import { generateRows } from "./rows.ts"
import { Runner } from "./runner.ts"
import { eosIds } from "./sampling.ts"
import { Session, type SessionContext } from "./session.ts"
import type {
  EmbedOptions,
  FeedInput,
  ForwardOptions,
  ForwardResult,
  GenerateOptions,
  Ids,
  Prompt,
  Result,
  ScoreResult,
  WorkOptions,
} from "./types.ts"
import { matchWeights } from "./weights.ts"

/** `config.json` with its names in camelCase, as transformers defines them. */
export type ModelConfig = Readonly<Record<string, unknown>> & {
  readonly hiddenSize: number
  readonly numHiddenLayers: number
  readonly vocabSize: number
}

export interface ModelInfo {
  /** Short name of the checkpoint, and where it came from. */
  name: string
  source: string
  family: string
  /** Numbers in all tensors. */
  parameters: number
  backend: string
  isa: string
  threads: number
  /** Name of the GPU, where it runs on one. */
  device?: string
  compute: "f32" | "bf16"
  /** Held by the engine now. Mapped weights are pages of their file, shared with other processes. */
  bytes: EngineInfo["bytes"]
}

/** What `load` decides before a model is made. */
export interface ModelParts {
  checkpoint: Checkpoint
  families: readonly Family[]
  backend: Backend
  /** Instead of the checkpoint's; null for none. */
  tokenizer?: Tokenizer | null | undefined
  compute?: "f32" | "bf16" | undefined
  mmap?: boolean | undefined
  memoryLimit?: number | undefined
  /** Bytes, where no limit is given. Default: 4 GiB. */
  memory?: number
  engine?: EngineOptions
  /** An engine of the backend that is open already, and the model's from now on. */
  opened?: Engine | undefined
}

/** What `openModel` makes of them. */
interface OpenParts extends ModelParts {
  runner: Runner
  tensors: readonly TensorSource[]
  /** Bytes of a weight file that the fingerprint asks for. */
  read: (file: number, offset: number, length: number) => Uint8Array
  compute: "f32" | "bf16"
}

function camelCase(config: Readonly<Record<string, unknown>>, model: LanguageModel): ModelConfig {
  const named = Object.fromEntries(
    Object.entries(config).map(([name, value]) => [name.replace(/_([a-z0-9])/g, (_all, letter: string) => letter.toUpperCase()), value]),
  )
  const { hiddenSize, numHiddenLayers, vocabSize } = model
  return Object.freeze({ ...named, hiddenSize, numHiddenLayers, vocabSize })
}

/** Whether the bulk of the weights has 16 bits. */
function isNarrow(tensors: readonly TensorSource[]): boolean {
  const narrow = tensors.filter(({ dtype }) => dtype === "bf16" || dtype === "f16")
  const bytes = (of: readonly TensorSource[]): number => of.reduce((sum, tensor) => sum + tensor.bytes, 0)
  return 2 * bytes(narrow) > bytes(tensors)
}

/** The family that knows this configuration, and the model that it describes. */
export function parseConfig(config: Readonly<Record<string, unknown>>, families: readonly Family[]): LanguageModel {
  const family = families.find((candidate) => candidate.matches(config))
  if (family !== undefined) return family.parse(config)
  const type = config.model_type === undefined ? "names no model_type" : `has model_type ${JSON.stringify(config.model_type)}`
  throw new CheckpointError(
    "CHECKPOINT_FAMILY",
    `config.json ${type}; this release knows ${families.map(({ name }) => name).join(", ")}.`,
    {
      fix: "Load a checkpoint of a known family, or add yours with load()'s `models` option.",
    },
  )
}

/** Brings the weights to their place, from wherever they are held. */
async function bring(
  engine: Engine,
  { checkpoint, backend, mmap = true }: ModelParts,
  tensors: readonly TensorSource[],
): Promise<Pick<OpenParts, "read"> & { weights: WeightsHandle }> {
  if (checkpoint.held === undefined) {
    const { read, close, ...source } = await handOver(checkpoint.files, tensors, backend.name)
    return { read, weights: await engine.weights({ ...source, mmap }).finally(close) }
  }
  const { weights, edges } = await checkpoint.held.weights(tensors)
  const kept = edges.map(
    (packed, number) =>
      new Edges(
        tensors.filter(({ file }) => file === number),
        packed,
      ),
  )
  return { weights, read: (file, offset, length) => (kept[file] as Edges).read(offset, length) }
}

/** Matches the checkpoint with its family, opens an engine unless there is one, and hands it the weights. */
export async function openModel(parts: ModelParts): Promise<Model> {
  const { checkpoint, families, backend } = parts
  const model = parseConfig(checkpoint.config, families)
  const { tensors, table } = matchWeights(model, checkpoint)
  const copied = tensors.reduce((sum, { bytes }) => sum + bytes, 0)
  if (parts.memoryLimit !== undefined && parts.mmap === false && copied > parts.memoryLimit) {
    throw new MemoryLimitError("MEMORY_LIMIT", `The weights need ${copied} bytes; the limit is ${parts.memoryLimit}.`, {
      needed: copied,
      limit: parts.memoryLimit,
      largest: "weights",
      fix: "Leave mmap on, so that they stay in their file, or raise `memoryLimit`.",
    })
  }
  // What GPU runs of such models do; their fast matrix products know no other way.
  const compute = parts.compute ?? (backend.name === "cuda" && isNarrow(tensors) ? "bf16" : "f32")
  let memoryLimit = parts.memoryLimit ?? parts.memory ?? 2 ** 32
  // Native programs have the machine's memory, and are traced when they are needed.
  const plans = backend.name === "wasm" || backend.name === "cuda" ? await firstPlans(model, table, compute) : undefined
  if (plans !== undefined && backend.name === "wasm") {
    memoryLimit = programRoom([...plans.values()], checkpoint.weightBytes, memoryLimit, wasmSpace)
  }
  const engine = parts.opened ?? (await backend.open(parts.engine))
  try {
    const free = engine.info().device?.free
    if (plans !== undefined && free !== undefined) {
      const limit = parts.memoryLimit ?? Number.POSITIVE_INFINITY
      memoryLimit = programRoom([...plans.values()], copied, limit, gpuSpace(free))
    }
    const { read, weights } = await bring(engine, parts, tensors)
    const isGpu = backend.name === "cuda"
    const runner = new Runner({ engine, weights, model, tensors: table, compute, memoryLimit, plans, isGpu })
    return new Model({ ...parts, runner, tensors, read, compute })
  } catch (error) {
    await engine.dispose()
    throw error
  }
}

export class Model {
  readonly config: ModelConfig
  readonly #parts: OpenParts
  readonly #context: SessionContext
  readonly #sessions = new Set<Session>()
  readonly #reader: IdReader
  #fingerprint: string | undefined
  #encoder: Promise<AsyncEncoder> | undefined
  #disposed = false

  /** Made by `load()`. */
  constructor(parts: OpenParts) {
    const { checkpoint, runner } = parts
    const { model } = runner
    this.#parts = parts
    this.config = camelCase(checkpoint.config, model)
    this.#reader = new IdReader(
      model.vocabSize,
      () => this.tokenizer,
      () => this.#elsewhere(),
      checkpoint.held !== undefined && parts.tokenizer === undefined,
    )
    const bos = checkpoint.generationConfig.bos_token_id ?? checkpoint.config.bos_token_id
    this.#context = {
      runner,
      reader: this.#reader,
      generationConfig: checkpoint.generationConfig,
      eos: eosIds(checkpoint.generationConfig, checkpoint.config, model.vocabSize),
      bos: typeof bos === "number" && bos >= 0 && bos < model.vocabSize ? bos : undefined,
      fingerprint: () => this.#ownFingerprint(),
      stream: (needed) => (needed ? this.tokenizer : this.#tokenizer())?.stream({ skipSpecialTokens: true }),
      opened: (session) => this.#sessions.add(session),
      closed: (session) => this.#sessions.delete(session),
    }
  }

  #ownFingerprint(): string {
    const { runner, tensors, read } = this.#parts
    this.#fingerprint ??= modelFingerprint(runner.model, tensors, read)
    return this.#fingerprint
  }

  #tokenizer(): Tokenizer | undefined {
    const { tokenizer, checkpoint } = this.#parts
    return tokenizer === undefined ? checkpoint.tokenizer : (tokenizer ?? undefined)
  }

  /** The checkpoint's tokenizer in the engine's thread, where there is one; unless it was read there, it is made when the first long text comes. */
  #elsewhere(): Promise<AsyncEncoder> | undefined {
    const { tokenizer, checkpoint, runner } = this.#parts
    if (tokenizer !== undefined) return undefined
    if (checkpoint.held !== undefined) return Promise.resolve(checkpoint.held.encoder)
    if (checkpoint.tokenizerFiles === undefined) return undefined
    const { json, config } = checkpoint.tokenizerFiles
    this.#encoder ??= runner.engine.tokenizer?.(json, config)
    return this.#encoder
  }

  /** Throws TokenizerError when the model has none: it then works on ids. */
  get tokenizer(): Tokenizer {
    const tokenizer = this.#tokenizer()
    if (tokenizer !== undefined) return tokenizer
    const reason = this.#parts.checkpoint.tokenizerMissing ?? "it was loaded without one"
    throw new TokenizerError("TOKENIZER_MISSING", `The model has no tokenizer: ${reason}.`, {
      fix: "Put tokenizer.json into the folder, or work with token ids.",
    })
  }

  info(): ModelInfo {
    const { checkpoint, backend, runner, tensors, compute } = this.#parts
    const { isa, threads, device, bytes } = runner.engine.info()
    const parameters = tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)
    return {
      name: checkpoint.name,
      source: checkpoint.label,
      family: runner.model.family,
      parameters,
      backend: backend.name,
      isa,
      threads,
      ...(device && { device: device.name }),
      compute,
      bytes,
    }
  }

  /** Continues a prompt, or a ragged batch of them, whose pieces say their `row`. Iterate for pieces, or await `.result()`. */
  generate(prompt: Prompt, options?: GenerateOptions): Generation<Result>
  generate(prompts: readonly Prompt[], options?: GenerateOptions): Generation<Result[]>
  generate(prompt: Prompt | readonly Prompt[], options?: GenerateOptions): Generation<Result> | Generation<Result[]> {
    this.#alive()
    if (Array.isArray(prompt) && !isIds(prompt)) return generateRows(this.#context, prompt, options, (results) => results)
    return generateRows(this.#context, [prompt as Prompt], options, (results) => results[0] as Result)
  }

  /** `generate(…).result()`. */
  async complete(prompt: Prompt, options?: GenerateOptions): Promise<Result>
  async complete(prompts: readonly Prompt[], options?: GenerateOptions): Promise<Result[]>
  async complete(prompt: Prompt | readonly Prompt[], options?: GenerateOptions): Promise<Result | Result[]> {
    return this.generate(prompt as Prompt, options).result()
  }

  /** A new conversation, or one that goes on from a snapshot. Throws StateError for a snapshot that is damaged, newer, or of another model. */
  session(snapshot?: Uint8Array): Session {
    this.#alive()
    return new Session(this.#context, snapshot)
  }

  /** Log-probability of each token, in constant memory besides the result. `onProgress` counts tokens. */
  async score(input: FeedInput, options?: WorkOptions): Promise<ScoreResult> {
    this.#alive()
    return this.#explain(score(this.#parts.runner, this.#reader, input, options))
  }

  /** A vector of the last layer, Float32Array(hiddenSize). */
  async embed(input: FeedInput, options?: EmbedOptions): Promise<Float32Array> {
    this.#alive()
    return this.#explain(embed(this.#parts.runner, this.#reader, input, options))
  }

  /** Logits, and on request hidden states and inner values. Throws MemoryLimitError before anything is allocated that would not fit. */
  async forward(ids: Ids, options?: ForwardOptions): Promise<ForwardResult> {
    this.#alive()
    return this.#explain(forward(this.#parts.runner, this.#reader, ids, options))
  }

  #alive(): void {
    if (this.#disposed) throw new DisposedError("DISPOSED", "The model was disposed.", { fix: "Load it again." })
  }

  async #explain<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      this.#alive()
      throw error
    }
  }

  /** Disposes all sessions, stops what runs, and frees the engine. Later calls throw DisposedError. */
  async dispose(): Promise<void> {
    if (this.#disposed) return
    this.#disposed = true
    await Promise.all([...this.#sessions].map((session) => session.dispose()))
    await this.#parts.runner.engine.dispose()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }
}
