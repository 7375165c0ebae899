/** Files of the repository, by their paths in it, and what else a test asks of the machine. `files.page.ts` is its twin in a page. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { readCheckpoint } from "../../ts/io/file.ts"
import type { Checkpoint } from "../../ts/io/types.ts"

const root: string = fileURLToPath(new URL("../..", import.meta.url))

export const readBytes = (path: string): Uint8Array => new Uint8Array(readFileSync(`${root}${path}`))
export const readText = (path: string): string => readFileSync(`${root}${path}`, "utf8")
/** The checkpoint in a folder. */
export const openFolder = (path: string): Promise<Checkpoint> => readCheckpoint(`${root}${path}`)
/** Memory that is in use, in bytes; undefined where nobody tells. */
export const resident = (): number | undefined => process.memoryUsage().rss
