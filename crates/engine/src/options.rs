//! What an engine is opened with and what it says about itself.

use serde::{Deserialize, Deserializer, Serialize};
use statespace_simd::Level;

use crate::cuda;
use crate::error::Error;

/// More threads than this are taken for a mistake.
const MAX_THREADS: usize = 1024;

/// Which arithmetic runs the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Executor {
    /// Vector kernels in f32.
    #[default]
    Cpu,
    /// Kernels on an NVIDIA GPU, activations in f32.
    Cuda,
    /// The definitions of the ops in f64, one buffer each; slow on purpose.
    Reference,
}

/// Options of an engine; as JSON `{ executor?, device?, threads?, isa?, memory?: "planned" | "flat", guard?, dump? }`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Options {
    /// Which arithmetic runs the nodes.
    pub executor: Executor,
    /// Index of the GPU; none: the first.
    pub device: Option<usize>,
    /// In place of a GPU, an emulator of one, for tests.
    #[cfg(feature = "emulate")]
    pub emulated: bool,
    /// Threads that a node is shared by; none: one for each physical core. Results do not depend on it.
    pub threads: Option<usize>,
    /// The instruction set; none: the fastest that this CPU has.
    pub isa: Option<String>,
    /// No two buffers of `temp` share bytes, in-place pairs neither. Results do not depend on it.
    #[serde(rename = "memory", deserialize_with = "memory")]
    pub flat: bool,
    /// Every buffer has a place of its own with a guard behind it that is checked after every node; dead ranges are filled with NaN.
    pub guard: bool,
    /// Keeps a copy of every node's outputs, readable as `node.{id}.{output index}`.
    pub dump: bool,
}

fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Memory {
        Planned,
        Flat,
    }
    Ok(matches!(Memory::deserialize(deserializer)?, Memory::Flat))
}

impl Options {
    /// The instruction set, if this CPU has it.
    pub(crate) fn level(&self) -> Result<Level, Error> {
        let Some(name) = &self.isa else { return Ok(Level::best()) };
        Level::from_name(name).ok_or_else(|| {
            let all: Vec<_> = Level::available().into_iter().map(Level::name).collect();
            Error::option(format!("isa is {name}; this machine has {}", all.join(", ")))
        })
    }

    /// The number of threads, the engine's own included.
    pub(crate) fn thread_count(&self) -> Result<usize, Error> {
        match (self.executor, self.threads) {
            (_, Some(n)) if !(1..=MAX_THREADS).contains(&n) => Err(Error::option(format!("threads is {n}; it may be 1 to {MAX_THREADS}"))),
            (Executor::Reference | Executor::Cuda, _) => Ok(1),
            (Executor::Cpu, threads) => Ok(threads.unwrap_or_else(cores)),
        }
    }
}

/// What this build and machine have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Info {
    /// Of the engine.
    pub version: &'static str,
    /// Hash of the op table.
    pub opset: &'static str,
    /// Instruction sets, best first.
    pub isas: Vec<String>,
    /// Physical cores that this process may use.
    pub cores: usize,
}

/// A GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceInfo {
    /// As the option `device` takes it.
    pub index: usize,
    /// As its maker calls it.
    pub name: String,
    /// Bytes of its memory.
    pub memory: u64,
    /// Bytes of it that were free when an engine opened it; asking takes as long as opening.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<u64>,
    /// Compute capability.
    pub capability: String,
    /// Version of CUDA that its driver is for.
    pub driver: String,
}

/// The GPUs that this build and machine can use, in the driver's order.
///
/// # Errors
/// [`Error::NoDevice`] says why there is none, [`Error::Device`] why there is no use for what there is.
pub fn devices() -> Result<Vec<DeviceInfo>, Error> {
    cuda::survey()
}

/// What an engine runs with and holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EngineInfo {
    /// The instruction set, `sm_90` and the like on GPUs; `reference` for the executor of that name.
    pub isa: String,
    /// Threads that a node is shared by.
    pub threads: usize,
    /// The GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceInfo>,
    /// Memory, in bytes.
    pub bytes: Bytes,
}

/// Memory of an engine, in bytes; of one on a GPU, what it has there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// Tensors of the checkpoints, mapped or copied, and forms made of them.
    pub weights: u64,
    /// Values between nodes.
    pub temp: u64,
    /// All states.
    pub state: u64,
    /// Inputs and outputs of all programs, dumps included.
    pub io: u64,
    /// What kernels work in.
    pub scratch: u64,
}

/// What this build and machine have.
pub fn info() -> Info {
    Info {
        version: env!("CARGO_PKG_VERSION"),
        opset: statespace_plan::OPSET,
        isas: Level::available().into_iter().rev().map(|level| level.name().to_owned()).collect(),
        cores: cores(),
    }
}

/// Physical cores, or fewer where the process may not use them all: a second thread on a core only takes cache from the first.
fn cores() -> usize {
    let usable = std::thread::available_parallelism().map_or(1, |n| n.get());
    physical_cores().map_or(usable, |n| n.min(usable)).clamp(1, MAX_THREADS)
}

/// Distinct sets of sibling threads, as Linux lists them.
fn physical_cores() -> Option<usize> {
    if cfg!(target_family = "wasm") {
        return None;
    }
    let cpus = std::fs::read_dir("/sys/devices/system/cpu").ok()?;
    let siblings = cpus.flatten().filter_map(|cpu| std::fs::read_to_string(cpu.path().join("topology/thread_siblings_list")).ok());
    Some(siblings.collect::<std::collections::HashSet<_>>().len()).filter(|&n| n > 0)
}
