import { load } from "statespace"
import { tiny } from "statespace/tiny"

const model = await load(tiny)
const { text } = await model.complete("The compiler will", { maxNewTokens: 32 })
await model.dispose()
document.querySelector("output").textContent = text
