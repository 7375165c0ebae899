// Threads do not inherit the loader of their process.
import { register } from "tsx/esm/api"

register()
await import("./worker.mts")
