//! Compiles the CUDA kernels (feature `cuda`): by nvcc to fatbins where it is found, else their sources are embedded; and, for tests (feature
//! `emulate`), by a C++ compiler against `src/cuda/emulator.h`.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Machine code of the GPUs that we know, and what the driver compiles for others.
const TARGETS: [&str; 3] = ["arch=compute_80,code=[sm_80,compute_80]", "arch=compute_90a,code=sm_90a", "arch=compute_120,code=sm_120"];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(emulated)");
    println!("cargo::rerun-if-changed=build.rs");
    if !enabled("CUDA") {
        return;
    }
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-env-changed=STATESPACE_NVCC");
    println!("cargo::rerun-if-env-changed=STATESPACE_NVCC_FLAGS");
    let kernels = kernels();
    modules(&kernels);
    if enabled("EMULATE") {
        println!("cargo::rerun-if-changed=tests/emulator/tried.cu");
        match emulated(&kernels) {
            Ok(()) => println!("cargo::rustc-cfg=emulated\ncargo::metadata=emulated=yes"),
            Err(reason) => println!("cargo::rustc-env=STATESPACE_NOT_EMULATED={reason}"),
        }
    }
}

fn enabled(feature: &str) -> bool {
    env::var_os(format!("CARGO_FEATURE_{feature}")).is_some()
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

/// What every kernel has before it.
const COMMON: &str = "src/cuda/common.cuh";

/// Modules with their sources, in order: one an op, and those of several. A module's sources are one text: `*.cuh` by name, then `kernel.cu`.
fn kernels() -> Vec<(String, Vec<PathBuf>)> {
    let files = |folder: &Path| fs::read_dir(folder).expect("src can be listed").map(|entry| entry.expect("an entry").path());
    let sources = |folder: &Path| {
        let mut parts: Vec<PathBuf> = files(folder).filter(|file| file.extension().is_some_and(|ending| ending == "cuh")).collect();
        parts.sort();
        parts.push(folder.join("kernel.cu"));
        parts
    };
    let mut all: Vec<(String, Vec<PathBuf>)> = files("src".as_ref())
        .filter(|folder| folder.join("kernel.cu").exists())
        .map(|folder| (folder.file_name().expect("a name").to_string_lossy().into_owned(), sources(&folder)))
        .collect();
    all.sort();
    all
}

/// Writes `modules.rs`: what `cuda::MODULES` holds.
fn modules(kernels: &[(String, Vec<PathBuf>)]) {
    let nvcc = nvcc();
    if nvcc.is_none() {
        println!("cargo::warning=nvcc was not found: CUDA kernels are embedded as sources, which NVRTC compiles when they are loaded");
    }
    let mut text = String::from("/// One module an op, and `batch`, `step` and `token`, of several.\npub static MODULES: &[Module] = &[\n");
    let images = each(kernels, |(name, sources)| match &nvcc {
        Some(nvcc) => format!("Image::Fatbin(include_bytes!({:?}))", fatbin(nvcc, name, sources)),
        None => {
            let root = variable("CARGO_MANIFEST_DIR");
            let parts = [Path::new(COMMON)].into_iter().chain(sources.iter().map(PathBuf::as_path));
            let texts: Vec<String> = parts.map(|file| format!("include_str!({:?})", Path::new(&root).join(file))).collect();
            format!("Image::Source(concat!({}))", texts.join(", "))
        }
    });
    for ((name, _), image) in kernels.iter().zip(images) {
        writeln!(text, "    Module {{ name: {name:?}, image: {image} }},").expect("a string takes it");
    }
    text.push_str("];\n");
    fs::write(Path::new(&variable("OUT_DIR")).join("modules.rs"), text).expect("OUT_DIR can be written");
}

fn workspace() -> PathBuf {
    Path::new(&variable("CARGO_MANIFEST_DIR")).join("../..")
}

fn nvcc() -> Option<PathBuf> {
    let ours = workspace().join(".cuda/nvidia/cu13/bin/nvcc");
    // A file that is not there counts as changed every time; who installs it touches this script.
    if ours.exists() {
        println!("cargo::rerun-if-changed={}", ours.display());
    }
    let starts = |nvcc: &PathBuf| Command::new(nvcc).arg("--version").output().is_ok_and(|output| output.status.success());
    match env::var_os("STATESPACE_NVCC").filter(|given| !given.is_empty()) {
        Some(given) => Some(given.into()).filter(starts),
        None => [ours, "nvcc".into(), "/usr/local/cuda/bin/nvcc".into()].into_iter().find(starts),
    }
}

/// Compiles one kernel for [`TARGETS`]. Profiles and features have folders of their own; what nvcc made is kept in one place for all of them.
fn fatbin(nvcc: &Path, name: &str, sources: &[PathBuf]) -> PathBuf {
    let toolchain = workspace().join(".cuda");
    let folder = if toolchain.exists() { toolchain.join("kept") } else { PathBuf::from(variable("OUT_DIR")) };
    fs::create_dir_all(&folder).expect("a folder for fatbins");
    let mut command = Command::new(nvcc);
    command.args(["-x", "cu", "-std=c++17", "-O3", "--fatbin", "--compress-mode=size", "-Werror", "all-warnings"]);
    // A profiler wants -lineinfo, which would more than double what is shipped.
    command.args(env::var("STATESPACE_NVCC_FLAGS").unwrap_or_default().split_whitespace());
    let (kernel, parts) = sources.split_last().expect("kernel.cu");
    for part in [Path::new(COMMON)].into_iter().chain(parts.iter().map(PathBuf::as_path)) {
        command.arg("--pre-include").arg(part);
    }
    command.arg(kernel);
    command.args(TARGETS.iter().flat_map(|target| ["-gencode", target]));
    compiled(command, &folder, name, "fatbin", &read_by(&[COMMON], sources)).unwrap_or_else(|refusal| panic!("{refusal}"))
}

/// Compiles the emulator and the kernels on it, for what depends on this crate to link; else says why not.
fn emulated(kernels: &[(String, Vec<PathBuf>)]) -> Result<(), String> {
    if variable("HOST") != variable("TARGET") || variable("CARGO_CFG_TARGET_OS") != "linux" {
        return Err("the emulator of CUDA runs on Linux, where it was compiled".into());
    }
    let compiler = env::var("CXX").unwrap_or_else(|_| "g++".into());
    println!("cargo::rerun-if-env-changed=CXX");
    if !Command::new(&compiler).arg("--version").output().is_ok_and(|output| output.status.success()) {
        return Err(format!("the emulator of CUDA needs a C++ compiler, and {compiler} does not start"));
    }
    let folder = PathBuf::from(variable("OUT_DIR"));
    let mut modules: Vec<_> = ["emulator", "emulator_arithmetic", "emulator_meetings"]
        .map(|name| (name.to_owned(), vec![PathBuf::from(format!("src/cuda/{name}.cpp"))]))
        .into();
    modules.extend_from_slice(kernels);
    // What no op has a need to try: blocks that wait for each other, and single instructions.
    modules.push(("tried".to_owned(), vec![PathBuf::from("tests/emulator/tried.cu")]));
    let objects = each(&modules, |(name, sources)| {
        let mut command = Command::new(&compiler);
        command.args(["-std=c++17", "-O2", "-g1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function"]);
        // Nothing of the C++ library is linked.
        command.args(["-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-fPIC"]);
        let emulator = "src/cuda/emulator.h";
        if name.starts_with("emulator") {
            command.arg("-c").arg(&sources[0]);
        } else {
            command.args(["-fsanitize=alignment,bounds", "-fno-sanitize-recover=all", "-I."]);
            command.arg("-include").arg(emulator).arg("-include").arg(COMMON);
            // On a GPU each module is a program of its own. Here they are one, in which two structs of one name would be one struct.
            let whole = folder.join(format!("{name}.cpp"));
            let parts: String = sources.iter().map(|source| format!("#include {source:?}\n")).collect();
            fs::write(&whole, format!("namespace {{\n{parts}}}\n")).expect("OUT_DIR can be written");
            command.arg("-c").arg(whole);
        }
        compiled(command, &folder, name, "o", &read_by(&[emulator, COMMON], sources))
    });
    let objects: Vec<PathBuf> = objects.into_iter().map(|object| object.unwrap_or_else(|refusal| panic!("{refusal}"))).collect();
    let archive = folder.join("libstatespace_emulator.a");
    let _ = fs::remove_file(&archive);
    let ran = Command::new("ar").arg("crs").arg(&archive).args(objects).status();
    if !ran.is_ok_and(|status| status.success()) {
        return Err("the emulator of CUDA needs ar, which comes with a linker".into());
    }
    println!("cargo::rustc-link-search=native={}", folder.display());
    // Kernels enter a list when the program starts: nothing names them.
    println!("cargo::rustc-link-lib=static:+whole-archive,-bundle=statespace_emulator");
    println!("cargo::rustc-link-lib=m");
    Ok(())
}

/// What a compilation depends on.
fn read_by<'a>(shared: &'a [&'a str], sources: &'a [PathBuf]) -> Vec<&'a Path> {
    shared.iter().map(Path::new).chain(sources.iter().map(PathBuf::as_path)).collect()
}

/// Runs a compiler unless it has been run with the same arguments on the same sources; the result has a name of its own for each.
fn compiled(mut command: Command, folder: &Path, name: &str, ending: &str, sources: &[&Path]) -> Result<PathBuf, String> {
    let mut hasher = DefaultHasher::new();
    format!("{command:?}").hash(&mut hasher);
    sources.iter().for_each(|source| fs::read(source).expect("a source").hash(&mut hasher));
    let output = folder.join(format!("{name}-{:016x}.{ending}", hasher.finish()));
    if output.exists() {
        return Ok(output);
    }
    // Under a name of its own until it is whole: two builds may be at it.
    let part = output.with_extension(format!("{}.{ending}", std::process::id()));
    let ran = command.arg("-o").arg(&part).output().map_err(|error| format!("{command:?}: {error}"))?;
    if !ran.status.success() {
        return Err(format!("{name} does not compile:\n{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr)));
    }
    fs::rename(&part, &output).expect("a compiled file can be renamed");
    Ok(output)
}

/// `body` of each item, on as many threads as cargo grants; in order.
fn each<T: Sync, R: Send>(items: &[T], body: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let jobs = env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(1);
    let next = Mutex::new(0..items.len());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..items.len().min(jobs) {
            scope.spawn(|| {
                loop {
                    let Some(i) = next.lock().expect("no thread panicked here").next() else { return };
                    let result = body(&items[i]);
                    done.lock().expect("no thread panicked here").push((i, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no thread panicked here");
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}
