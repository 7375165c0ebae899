/** Models on the backend under test. */
import type { Model } from "../../ts/run/model.ts"
import { openBackend } from "./backend.ts"
import { openModelIn } from "./models.ts"

/** The embedded model (`rustbook`), or a small random one (`mamba`, `mamba-odd`). */
export async function openTested(name: string, parts: Parameters<typeof openModelIn>[2] = {}): Promise<Model> {
  return openModelIn(name === "rustbook" ? "models/rustbook-mamba1-2.8m" : `test/golden/families/${name}`, await openBackend(), {
    compute: "f32",
    ...parts,
  })
}
