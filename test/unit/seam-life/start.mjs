/** Runs a TypeScript file here, in a process or a worker thread, which Node 20 cannot do alone. */

import { workerData } from "node:worker_threads"
import { register } from "tsx/esm/api"

register()
await import(workerData?.script ?? process.argv[2])
