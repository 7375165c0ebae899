/** Version of this package. */
import { readFileSync } from "node:fs"

// Two levels up, from ts/run/ and from dist/run/ alike.
export const version: string = (JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string })
  .version
