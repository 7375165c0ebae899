/**
 * `npm run test:neon`: the tests of crates simd and ops on 64-bit Arm, under qemu. With rustup's aarch64 target installed it is used;
 * otherwise Debian's cross-capable compiler builds the standard library too.
 */
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { aptInstall, Refusal, run, script, targetDir } from "./setup.ts"

const triple = "aarch64-unknown-linux-gnu"
const cross = ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user"]
const debianRust = ["rustc-web", "cargo-web", "rust-web-src"]

function hasTarget(): boolean {
  const { stdout } = spawnSync("rustc", ["--print", "target-libdir", "--target", triple], { encoding: "utf8" })
  return Boolean(stdout) && existsSync(stdout.trim())
}

await script(() => {
  const installed = hasTarget()
  const missing = aptInstall(installed ? cross : [...cross, ...debianRust], "the Arm tests need a cross compiler and an emulator")
  if (missing) throw new Refusal(missing)
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    CARGO_TARGET_DIR: join(targetDir, "neon"),
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER: "aarch64-linux-gnu-gcc",
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER: "qemu-aarch64 -L /usr/aarch64-linux-gnu",
  }
  // Debian's compiler stands beside rustup's, whose shims come first on the path.
  if (!installed)
    Object.assign(env, {
      PATH: "/usr/bin:/bin",
      RUSTC: "/usr/bin/rustc",
      RUSTC_BOOTSTRAP: "1",
      CARGO_UNSTABLE_BUILD_STD: "std,panic_unwind,test",
    })
  const cargo = installed ? "cargo" : "/usr/bin/cargo"
  run(cargo, ["test", "--no-fail-fast", "--target", triple, "-p", "statespace-simd", "-p", "statespace-ops", ...process.argv.slice(2)], {
    env,
  })
})
