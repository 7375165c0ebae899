//! Runs plans. Knows ops and bytes, not models.
//!
//! A [`Direct`] engine owns memory, checkpoints, loaded plans and states, and works on the caller's thread; an `Engine` is a thread that owns the
//! same, and does one command after the other; a command ends with a `Reply`. Plans are checked by `statespace-plan`, on whose rules the memory
//! safety of the executors rests, and run by one of three executors: vector kernels on a pool of threads, kernels on a GPU, or the f64 definitions
//! of the ops.
//!
//! ```
//! use std::sync::mpsc::channel;
//! use statespace_engine::{Engine, Options};
//!
//! let engine = Engine::open(Options::default())?;
//! let (send, receive) = channel();
//! engine.load("{}".to_owned(), None, Box::new(move |result| send.send(result).unwrap()));
//! assert_eq!(receive.recv().unwrap().unwrap_err().code(), "plan");
//! # Ok::<(), statespace_engine::Error>(())
//! ```
#![deny(unsafe_code)]
#![cfg_attr(all(target_family = "wasm", target_feature = "atomics"), feature(stdarch_wasm_atomic_wait))]

#[allow(unsafe_code)]
mod arena;
mod convert;
mod core;
mod cpu;
#[cfg_attr(not(feature = "cuda"), path = "no_cuda.rs")]
mod cuda;
mod direct;
#[cfg(not(target_family = "wasm"))]
mod engine;
mod error;
mod kernels;
mod machine;
mod node;
mod options;
mod place;
#[allow(unsafe_code)]
mod pool;
mod program;
#[cfg_attr(not(feature = "reference"), path = "absent.rs")]
mod reference;
mod run;
#[allow(unsafe_code)]
mod weights;

pub use direct::Direct;
#[cfg(not(target_family = "wasm"))]
pub use engine::{Engine, Reply};
pub use error::Error;
pub use options::{Bytes, DeviceInfo, EngineInfo, Executor, Info, Options, devices, info};
#[cfg(target_family = "wasm")]
pub use pool::work;
pub use statespace_plan::{DType, Issue};
pub use weights::TensorSource;
#[cfg(not(target_family = "wasm"))]
pub use weights::{File, Source};

/// The tests of ops and instruction sets.
#[cfg(feature = "testing")]
pub mod testing {
    pub use statespace_ops::cases::parity::checks;
    pub use statespace_simd::tests;
}

/// Findings of the validator; none if the plan is good.
pub fn check(plan: &str) -> Vec<Issue> {
    statespace_plan::check(plan).err().unwrap_or_default()
}
