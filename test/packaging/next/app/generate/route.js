import { load } from "statespace"

export const dynamic = "force-dynamic"

export async function GET() {
  const model = await load()
  const { text } = await model.complete("The compiler will", { maxNewTokens: 32 })
  await model.dispose()
  return new Response(text)
}
