/** The engine's side of a session: its state, and the copy that it can go back to. */
import type { StateHandle } from "../backend/interface.ts"
import type { Keeper } from "./decode.ts"
import type { Runner } from "./runner.ts"

export class SessionMemory implements Keeper {
  readonly #runner: Runner
  #state: StateHandle | undefined
  #spare: StateHandle | undefined
  #released = false
  /**
   * Everything below happens one after the other, so that what was asked for without waiting (a fork, a restored snapshot) is done before
   * the next call.
   */
  #work: Promise<unknown> = Promise.resolve()
  #failure: { error: unknown } | undefined

  constructor(runner: Runner) {
    this.#runner = runner
  }

  #next<T>(body: () => Promise<T>): Promise<T> {
    const done = this.#work.then(body)
    this.#work = done.catch(() => {})
    return done
  }

  /** The state, made on first use. Throws what went wrong while it was filled. */
  open(): Promise<StateHandle> {
    return this.#next(async () => {
      if (this.#failure !== undefined) throw this.#failure.error
      this.#state ??= await this.#runner.newState(1)
      return this.#state
    })
  }

  /** Fills the state with layers of a snapshot. */
  load(layers: readonly Uint8Array[]): void {
    const { engine, model } = this.#runner
    this.#fill(async () => {
      const state = await this.#runner.newState(1)
      this.#state = state
      await Promise.all(model.state.map(({ name }, i) => engine.write(state, name, layers[i] as Uint8Array)))
    })
  }

  /** Fills the state with a copy of another's, as that is now. */
  copy(from: SessionMemory): void {
    const copied = from.#next(async () => {
      if (from.#state === undefined) return
      this.#state = await this.#runner.newState(1)
      await this.#runner.engine.copyState(this.#state, from.#state)
    })
    this.#fill(() => copied)
  }

  #fill(body: () => Promise<void>): void {
    this.#next(body).catch((error: unknown) => {
      this.#failure = { error }
    })
  }

  keep(): Promise<void> {
    return this.#next(async () => {
      this.#spare ??= await this.#runner.newState(1)
      await this.#runner.engine.copyState(this.#spare, this.#state as StateHandle)
    })
  }

  restore(): Promise<void> {
    return this.#next(async () => {
      if (!this.#released) await this.#runner.engine.copyState(this.#state as StateHandle, this.#spare as StateHandle)
    })
  }

  release(): Promise<void> {
    return this.#next(async () => {
      this.#released = true
      for (const handle of [this.#state, this.#spare]) if (handle !== undefined) this.#runner.engine.release(handle)
    })
  }
}
