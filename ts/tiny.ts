/**
 * The embedded model, 2.8 million parameters trained on the text of the Rust books: `load(tiny)`. Only a page that imports this carries its
 * 5.9 MB, as files beside its code.
 */
import type { CheckpointParts } from "./io/types.ts"

// Each address is written out, which is how bundlers find the files.
export const tiny: CheckpointParts = {
  name: "rustbook-mamba1-2.8m",
  config: new URL("../models/rustbook-mamba1-2.8m/config.json", import.meta.url),
  weights: new URL("../models/rustbook-mamba1-2.8m/model.safetensors", import.meta.url),
  tokenizer: new URL("../models/rustbook-mamba1-2.8m/tokenizer.json", import.meta.url),
  tokenizerConfig: new URL("../models/rustbook-mamba1-2.8m/tokenizer_config.json", import.meta.url),
  generationConfig: new URL("../models/rustbook-mamba1-2.8m/generation_config.json", import.meta.url),
}
