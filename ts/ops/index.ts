/** The builders of all ops. A row of the table without one does not compile. */
import { add } from "./add.ts"
import { cast } from "./cast.ts"
import { conv1dSilu } from "./conv1d_silu.ts"
import { embed } from "./embed.ts"
import { linear } from "./linear.ts"
import { linearCrossEntropy } from "./linear_cross_entropy.ts"
import type { OpName } from "./ops.gen.ts"
import { rmsnorm } from "./rmsnorm.ts"
import { sample } from "./sample.ts"
import { scan } from "./scan.ts"
import { softplus } from "./softplus.ts"
import { sumRows } from "./sum_rows.ts"
import { transpose } from "./transpose.ts"

export const builders: Readonly<Record<OpName, (...operands: never[]) => unknown>> = {
  embed,
  rmsnorm,
  linear,
  conv1d_silu: conv1dSilu,
  scan,
  add,
  cast,
  transpose,
  softplus,
  sum_rows: sumRows,
  linear_cross_entropy: linearCrossEntropy,
  sample,
}

export { add, cast, conv1dSilu, embed, linear, linearCrossEntropy, rmsnorm, sample, scan, softplus, sumRows, transpose }
