/** Models for tests on the native engine. */
import { loadNative } from "../../ts/backend/native.ts"
import { readCheckpoint } from "../../ts/io/file.ts"
import { families } from "../../ts/models/index.ts"
import { type Model, openModel } from "../../ts/run/model.ts"
import { openFamily, root } from "./models.ts"

/** The embedded model, or a small random one (`mamba`, `mamba-odd`), on the native engine. */
export async function openNative(name: string, parts: Parameters<typeof openFamily>[2] = {}): Promise<Model> {
  if (name !== "rustbook") return openFamily(name, loadNative(), parts)
  const checkpoint = await readCheckpoint(`${root}models/rustbook-mamba1-2.8m`)
  return openModel({ checkpoint, families, backend: loadNative(), ...parts })
}
