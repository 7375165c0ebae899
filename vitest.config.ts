import { defineConfig } from "vitest/config"

/** The native module is a process-wide thing with its own threads, hence forks rather than worker threads. */
export default defineConfig({
  test: {
    environment: "node",
    include: ["test/{house,unit,model,wasm,browser,packaging}/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
})
