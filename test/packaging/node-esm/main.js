import { load } from "statespace"
import { tiny } from "statespace/tiny"

const model = await load(tiny, { backend: process.argv[2] })
const { text } = await model.complete("The compiler will", { maxNewTokens: 32 })
console.log(text)
await model.dispose()
