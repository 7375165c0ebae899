/** Generation for one prompt or a ragged batch, each on a state that is thrown away afterwards. */
import type { StateHandle } from "../backend/interface.ts"
import { DisposedError, OptionError } from "../errors.ts"
import { DecodeRow, decode, Generation, markSeen } from "./decode.ts"
import { chunkLength, type Runner } from "./runner.ts"
import { randomSeed, resolveSampling } from "./sampling.ts"
import type { SessionContext } from "./session.ts"
import { StopText } from "./text.ts"
import type { GenerateOptions, Piece, Prompt, Result } from "./types.ts"

/** Rows that run together: powers of two, so that few programs serve every size of batch, and as many as the memory limit allows. */
function groupSize(runner: Runner, rows: number): number {
  let size = Math.min(2 ** Math.ceil(Math.log2(rows)), runner.maxRows)
  while (size > 1 && !runner.fits({ kind: "chunk", b: size, l: chunkLength(size) })) size /= 2
  return size
}

/** Feeds all ids of each row but the last one. */
async function prefill(runner: Runner, state: StateHandle, rows: readonly Int32Array[], signal: AbortSignal | undefined): Promise<void> {
  const longest = Math.max(...rows.map((ids) => ids.length)) - 1
  for (let at = 0; at < longest; ) {
    signal?.throwIfAborted()
    const l = runner.chunkLength(rows.length, longest - at)
    await runner.chunk(
      state,
      rows.map((ids) => ids.slice(at, Math.max(at, Math.min(at + l, ids.length - 1)))),
      { length: l, signal },
    )
    at += l
  }
}

/** Pieces of all rows, group by group; fills in `rows` as they are made. */
async function* run(
  context: SessionContext,
  prompts: readonly Int32Array[],
  rows: readonly DecodeRow[],
  sampling: ReturnType<typeof resolveSampling>,
  options: GenerateOptions,
): AsyncGenerator<Piece, void, undefined> {
  const { runner, eos } = context
  const { signal, stopOnAbort } = options
  const size = groupSize(runner, rows.length)
  for (let firstRow = 0; firstRow < rows.length; firstRow += size) {
    const padding = Array.from({ length: Math.max(0, firstRow + size - rows.length) }, () => idleRow(rows[0] as DecodeRow))
    const group = [...rows.slice(firstRow, firstRow + size), ...padding]
    if (signal?.aborted && stopOnAbort) {
      for (const row of group) row.finish ??= "abort"
      continue
    }
    const state = await runner.newState(size)
    try {
      await prefill(runner, state, [...prompts.slice(firstRow, firstRow + size), ...padding.map(() => new Int32Array())], signal)
      yield* decode({ runner, state, rows: group, sampling, eos, firstRow, signal, stopOnAbort })
    } catch (error) {
      if (!(signal?.aborted && stopOnAbort) || error instanceof DisposedError) throw error
      for (const row of group) row.finish ??= "abort"
    } finally {
      runner.engine.release(state)
    }
  }
}

/** Fills a group up to its program's size and never runs. */
function idleRow(like: DecodeRow): DecodeRow {
  const row = new DecodeRow({ fed: 0, seed: 0n, counter: 0n, seen: new Uint8Array(like.seen.length) }, new StopText(undefined, []))
  row.finish = "length"
  return row
}

/** The ids, and bos for none. */
function orBos(context: SessionContext, ids: Int32Array): Int32Array {
  if (ids.length > 0) return ids
  if (context.bos === undefined) {
    throw new OptionError("PROMPT_EMPTY", "The prompt is empty, and the model has no bos_token_id to start from.", {
      fix: "Give at least one token.",
    })
  }
  return Int32Array.of(context.bos)
}

/** Continues prompts, each as if it ran alone. Options and ids are checked at once; nothing runs before the first piece is asked for. */
export function generateRows<R>(
  context: SessionContext,
  prompts: readonly Prompt[],
  options: GenerateOptions | undefined = {},
  whole: (results: Result[]) => R,
): Generation<R> {
  const sampling = resolveSampling(options, context.generationConfig)
  const { signal, stopOnAbort } = options
  const waits = (prompt: Prompt): boolean => context.reader.waits(prompt)
  const texts = prompts.map((prompt) => new StopText(context.stream(sampling.stop.length > 0 || waits(prompt)), sampling.stop))
  const rowsOf = (ids: readonly Int32Array[]): DecodeRow[] =>
    ids.map((row, i) => {
      const seen = new Uint8Array(Math.ceil(context.runner.model.vocabRows / 8))
      for (const id of row) markSeen(seen, id)
      const seed = sampling.seed ?? (sampling.doSample ? randomSeed() : 0n)
      const start = { pending: row[row.length - 1], fed: Math.max(0, row.length - 1), seed, counter: 0n, seen }
      return new DecodeRow(start, texts[i] as StopText)
    })
  // Text that takes its time is read when the first piece is asked for: until then its rows are empty.
  const known = prompts.map((prompt) => (waits(prompt) ? new Int32Array() : orBos(context, context.reader.ids(prompt))))
  let rows = rowsOf(known)
  const pieces = async function* (): AsyncGenerator<Piece, void, undefined> {
    try {
      const reading = prompts.map((prompt, i) => (waits(prompt) ? context.reader.read(prompt, signal) : known[i]))
      const ids = ((await Promise.all(reading)) as Int32Array[]).map((row) => orBos(context, row))
      if (prompts.some(waits)) rows = rowsOf(ids)
      yield* run(context, ids, rows, sampling, options)
    } catch (error) {
      if (!(signal?.aborted && stopOnAbort) || error !== signal.reason) throw error
    }
  }
  return new Generation(pieces(), () => whole(rows.map((row) => row.result(sampling.doSample))))
}
