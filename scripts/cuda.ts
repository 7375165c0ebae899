/** `npx tsx scripts/cuda.ts`: brings what compiles CUDA, into `.cuda/`: NVIDIA's compiler from its Python packages. No GPU is needed. */
import { spawnSync } from "node:child_process"
import { rmSync, utimesSync } from "node:fs"
import { join } from "node:path"
import { aptInstall, Refusal, root, script, works } from "./setup.ts"

const folder = join(root, ".cuda")
/** The line of the driver that kernels are meant for; the packages belong together. */
const packages = [
  "nvidia-cuda-nvcc==13.0.88",
  "nvidia-nvvm==13.0.88",
  "nvidia-cuda-crt==13.0.88",
  "nvidia-cuda-runtime==13.0.96",
  "nvidia-cuda-cccl==13.0.85",
]
const nvcc = join(folder, "nvidia", "cu13", "bin", "nvcc")

/** The build script of the kernels looks for compilers again when it is newer than its last run. */
function touch(): void {
  utimesSync(join(root, "crates", "ops", "build.rs"), new Date(), new Date())
}

/** Null when a C++ compiler is here, for nvcc and for the emulator that tests of kernels run on; else one sentence how to get there. */
function compilerMissing(): string | null {
  if (works("g++")) return null
  const missing = aptInstall(["g++"], "CUDA kernels need a C++ compiler")
  touch()
  return missing
}

/** Null when kernels can be compiled and tested here (after installing it, saying so), else one sentence how to get there. */
export function cudaMissing(): string | null {
  if (process.platform !== "linux" || process.arch !== "x64")
    return "nvcc is brought for Linux on x86-64 only; STATESPACE_NVCC names another"
  const missing = compilerMissing()
  if (missing) return missing
  const given = process.env.STATESPACE_NVCC
  if (given) return works(given) ? null : `STATESPACE_NVCC is ${given}, which does not start`
  if (works(nvcc)) return null
  const pip = ["-m", "pip"]
  if (!works("python3", [...pip, "--version"])) {
    const missing = aptInstall(["python3-pip"], "nvcc comes as Python packages, which need pip")
    if (missing) return missing
  }
  process.stderr.write("Installing nvcc 13.0 into .cuda by pip: 270 MB.\n")
  rmSync(join(folder, "nvidia"), { recursive: true, force: true })
  const install = [...pip, "install", "--quiet", "--root-user-action=ignore", "--no-deps", "--target", folder, ...packages]
  // Where there is no network, the rest can still be tested.
  spawnSync("python3", install, { stdio: ["ignore", 2, 2] })
  touch()
  return works(nvcc) ? null : `CUDA kernels need nvcc; this brought none that starts: python3 ${install.join(" ")}`
}

if (process.argv[1] === import.meta.filename) {
  await script(() => {
    const missing = cudaMissing()
    if (missing) throw new Refusal(`${missing}.`)
  })
}
