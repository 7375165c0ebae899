//! Launches on the emulator of CUDA, in the memory of this process.

pub mod cases;
pub mod memory;
pub mod node;
pub mod products;
pub mod tried;

#[path = "../../src/cuda/emulator.rs"]
mod shared;

pub use shared::run;
