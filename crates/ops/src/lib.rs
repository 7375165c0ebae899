//! The ops.
#![forbid(unsafe_code)]

pub mod add;
#[cfg(feature = "testing")]
pub mod cases;
pub mod cast;
pub mod conv1d_silu;
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
mod stored;
pub mod sum_rows;
pub mod transpose;

pub use rows::{Input, Mat, Rows, split};
pub use stored::{Stored, StoredOut};
