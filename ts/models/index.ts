/** The families that `load` knows by itself. */
import type { Family } from "./family.ts"
import { mamba } from "./mamba.ts"

export { mamba }
export const families: readonly Family[] = [mamba]
