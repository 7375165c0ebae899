/** `npx tsx scripts/cuda.ts`: brings what compiles CUDA, into `.cuda/`: NVIDIA's compiler from its Python packages. No GPU is needed. */
import { rmSync, utimesSync } from "node:fs"
import { join } from "node:path"
import { aptInstall, Refusal, root, run, script, works } from "./setup.ts"

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

/** Null when kernels can be compiled for the emulator, on which their tests run, else one sentence how to get there. */
export function emulatorMissing(): string | null {
  if (process.platform !== "linux") return "The emulator of CUDA runs on Linux"
  return works("g++") ? null : aptInstall(["g++"], "CUDA kernels are tested by compiling them with a C++ compiler")
}

/** Null when nvcc is here (after installing it, saying so), else one sentence how to get there. */
export function cudaMissing(): string | null {
  if (process.platform !== "linux" || process.arch !== "x64")
    return "nvcc is brought for Linux on x86-64 only; STATESPACE_NVCC names another"
  // nvcc has the host's compiler read the sources first.
  const missing = emulatorMissing()
  if (missing) return missing
  if (works(process.env.STATESPACE_NVCC ?? nvcc)) return null
  const pip = ["-m", "pip"]
  if (!works("python3", [...pip, "--version"])) {
    const missing = aptInstall(["python3-pip"], "nvcc comes as Python packages, which need pip")
    if (missing) return missing
  }
  process.stderr.write("Installing nvcc 13.0 into .cuda by pip: 270 MB.\n")
  rmSync(join(folder, "nvidia"), { recursive: true, force: true })
  const install = [
    ...pip,
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "--root-user-action=ignore",
    "--no-deps",
    "--target",
    folder,
    ...packages,
  ]
  run("python3", install)
  // It looks for nvcc when it is newer than its last run.
  utimesSync(join(root, "crates", "ops", "build.rs"), new Date(), new Date())
  return works(nvcc) ? null : `CUDA kernels need nvcc; this brought none that starts: python3 ${install.join(" ")}`
}

if (process.argv[1] === import.meta.filename) {
  await script(() => {
    const missing = cudaMissing()
    if (missing) throw new Refusal(`${missing}.`)
  })
}
