//! The ops on a GPU by CUDA (feature `cuda`): beside each op a `kernel.cu` and a `cuda.rs` that says how to launch it.
//!
//! What all kernels have in common:
//!
//! - **Rows** and layout are those of the CPU's kernels: rows at positions ≥ `lens` are neither read nor written, whatever is there, unless
//!   [`Call::whole`] lets them be written.
//! - **Types** are the plan's, but that [`narrow`] operands may be bf16 where it says f32.
//! - **Parameters** are one struct by value. Sizes and offsets have 64 bits.
//! - **Launches** allocate nothing and wait for nothing, so that they can be captured into a graph. Empty work is no launch.
//! - **Determinism**: sums have one order; there are no atomic operations on floats.
//! - **Alignment**: an operand may lie at any multiple of its element. What `launches` finds to be aligned gets a kernel with vectors.
//!
//! `emulator.h` lets a C++ compiler run the same sources; `tests/cuda.rs` checks every case of the op table on it.

mod launch;

pub use launch::{Call, Device, Launch, Operand, Params, Sizes, Step, element_wise, launch_1d, size, stored};

use statespace_plan::Attrs;

/// The kernels of an op, compiled.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// As [`Launch::module`] calls it.
    pub name: &'static str,
    /// What the driver loads.
    pub image: Image,
}

/// Kernels in a form that can be loaded.
#[derive(Clone, Copy, Debug)]
pub enum Image {
    /// Machine code and PTX, by nvcc.
    Fatbin(&'static [u8]),
    /// CUDA C++ for NVRTC: nvcc was not there when this was compiled.
    Source(&'static str),
}

/// Why this build has no emulator to run kernels on (`emulator_run`, `emulator_gemm`); none where it has.
#[cfg(feature = "emulate")]
pub const NOT_EMULATED: Option<&str> = option_env!("STATESPACE_NOT_EMULATED");

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// What a node comes to on the device, in order.
pub fn launches(attrs: &Attrs, call: &Call) -> Vec<Step> {
    match attrs {
        Attrs::Embed => crate::embed::cuda::launches(call),
        Attrs::Rmsnorm(attrs) => crate::rmsnorm::cuda::launches(call, attrs),
        Attrs::Linear(attrs) => crate::linear::cuda::launches(call, attrs),
        Attrs::Conv1dSilu => crate::conv1d_silu::cuda::launches(call),
        Attrs::Scan(attrs) => crate::scan::cuda::launches(call, attrs),
        Attrs::Add => crate::add::cuda::launches(call),
        Attrs::Cast(_) => crate::cast::cuda::launches(call),
        Attrs::Transpose => crate::transpose::cuda::launches(call),
        Attrs::Softplus => crate::softplus::cuda::launches(call),
        Attrs::SumRows => crate::sum_rows::cuda::launches(call),
        Attrs::LinearCrossEntropy(attrs) => crate::linear_cross_entropy::cuda::launches(call, attrs),
        Attrs::Sample(attrs) => crate::sample::cuda::launches(call, attrs),
    }
}

/// Which inputs and outputs of a node, by position as bits, may be bf16 where the plan says f32: each of them, or all as the op says.
pub fn narrow(attrs: &Attrs, call: &Call) -> [u32; 2] {
    match attrs {
        Attrs::Linear(attrs) => crate::linear::cuda::takes_bf16(call, attrs).map(u32::from),
        Attrs::Rmsnorm(_) => [0, 1],
        Attrs::Conv1dSilu => [1, 1],
        // u, dt, B, C and z, all of them.
        Attrs::Scan(_) => [0b101_1011, 1],
        Attrs::Embed
        | Attrs::Add
        | Attrs::Cast(_)
        | Attrs::Transpose
        | Attrs::Softplus
        | Attrs::SumRows
        | Attrs::LinearCrossEntropy(_)
        | Attrs::Sample(_) => [0, 0],
    }
}

/// Bytes of scratch that a node needs, at a multiple of 256. Asked before memory is allocated: the operands' addresses may be any that are
/// as aligned as they will be, and 0 where one is absent.
pub fn scratch_bytes(attrs: &Attrs, call: &Call) -> u64 {
    match attrs {
        Attrs::Linear(attrs) => crate::linear::cuda::scratch_bytes(call, attrs),
        Attrs::LinearCrossEntropy(attrs) => crate::linear_cross_entropy::cuda::scratch_bytes(call, attrs),
        Attrs::Sample(attrs) => crate::sample::cuda::scratch_bytes(call, attrs),
        Attrs::Embed
        | Attrs::Rmsnorm(_)
        | Attrs::Conv1dSilu
        | Attrs::Scan(_)
        | Attrs::Add
        | Attrs::Cast(_)
        | Attrs::Transpose
        | Attrs::Softplus
        | Attrs::SumRows => 0,
    }
}
