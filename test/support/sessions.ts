/** What tests of sessions do all the time, on any engine. */
import type { Model } from "../../ts/run/model.ts"
import type { Session } from "../../ts/run/session.ts"
import type { GenerateOptions } from "../../ts/run/types.ts"

export const prompt: number[] = Array.from({ length: 40 }, (_, i) => (i * 37) % 320)
/** No eos: every generation has the length it asks for. */
export const long = (n: number, more: GenerateOptions = {}): GenerateOptions => ({ maxNewTokens: n, minNewTokens: n, ...more })
export const tokensOf = async (session: Session, options: GenerateOptions): Promise<number[]> =>
  (await session.generate(options).result()).tokens

export async function fed(model: Model, ids: number[] | Int32Array = prompt): Promise<Session> {
  const session = model.session()
  await session.feed(ids)
  return session
}
