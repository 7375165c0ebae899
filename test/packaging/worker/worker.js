// A Worker knows no import map, so without a bundler it takes the one file that needs none.
import { load } from "./node_modules/statespace/dist/browser.js"
import { tiny } from "./node_modules/statespace/dist/tiny.js"

const model = await load(tiny)
const { text } = await model.complete("The compiler will", { maxNewTokens: 32 })
await model.dispose()
postMessage(text)
