//! The ops of `spec/ops.json`: what each computes, twice.
//!
//! One folder an op. Its `reference` is the definition in f64, written to be obviously right and never to be fast; the reference executor
//! runs plans with it and every kernel is tested against it. Beside it a struct with the op's operands as named fields, whose `run` is the
//! kernel for one instruction set, chosen by a [`Level`](statespace_simd::Level) at run time.
//!
//! What all kernels have in common:
//!
//! - **Layout.** Activations are (batch, time, channel), channels innermost, so that lanes run over channels. An input that the table marks
//!   `ld` is a [`Mat`] with a pitch; outputs are dense.
//! - **Rows.** [`Rows`] says which (b, t) are valid. Activations of other rows are neither read nor written, state of a row with length 0 is
//!   left alone.
//! - **Parts.** `run(level, part, parts, …)` does one share of the work. Parts split outputs (rows, channels), never a sum, so a result has
//!   the same bits for any number of parts. Each part gets its own [`SharedOut`](statespace_simd::SharedOut) handles and scratch.
//! - **In place.** Where the table lets an input lie in the output it is an [`Input`]: in its own memory, or in place. A kernel reads each
//!   element there before it writes it.
//! - **Scratch** is counted in floats, per part; its contents do not matter. Kernels allocate nothing.
//!
//! Kernels take operands that fit their shapes, as a checked plan gives them, and panic otherwise. This crate has no `unsafe`.
#![forbid(unsafe_code)]

pub mod add;
#[cfg(feature = "cuda")]
pub mod batch;
#[cfg(feature = "testing")]
pub mod cases;
pub mod cast;
pub mod conv1d_silu;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod embed;
pub mod linear;
pub mod linear_cross_entropy;
mod math;
pub mod philox;
pub mod rmsnorm;
mod rows;
pub mod sample;
pub mod scan;
pub mod softplus;
#[cfg(feature = "cuda")]
pub mod step;
mod stored;
pub mod sum_rows;
#[cfg(feature = "cuda")]
pub mod token;
pub mod transpose;

pub use rows::{Input, Mat, Rows, split};
pub use stored::{Stored, StoredInput, StoredOut};
