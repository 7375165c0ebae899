//! The selective scan, S6 (Gu and Dao, arXiv 2312.00752, algorithm 2).
//!
//! Per batch row, channel c and state index n, with s = dt + dt_bias and Δ = softplus(s), or s:
//!
//! ```text
//! h[n] = exp(Δ·A[n,c]) · h[n] + Δ · B[n] · u            the recurrence; h starts as state and is left there
//! y    = (Σ_n C[n]·h[n] + D·u) · silu(z)                 without z: ungated; without D: no skip
//! ```
//!
//! A is discretized exactly, B by Euler's rule, as in the released models. B and C are shared by the `e / groups` channels of a group:
//! channel c reads columns `c / (e/groups) · n ..` of their rows. Channels are innermost everywhere.

#[cfg(feature = "cuda")]
pub mod cuda;
mod exp2;
mod reference;
mod step;
mod tile;

pub use reference::{Reference, reference};

use statespace_simd::{Level, SharedOut};

use crate::rows::Rows;
use crate::stored::{StoredInput, StoredOut};

/// Operands that are only read.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    /// Rows; `state` stops at the last valid one.
    pub rows: Rows<'a>,
    /// Channels.
    pub e: usize,
    /// State size.
    pub n: usize,
    /// Groups of channels that share B and C; divides `e`.
    pub groups: usize,
    /// Δ = softplus(s), else Δ = s.
    pub softplus: bool,
    /// (b, l, e). All activations and y are of one type.
    pub u: StoredInput<'a>,
    /// (b, l, e), before bias and softplus.
    pub dt: StoredInput<'a>,
    /// A, (n, e).
    pub a: &'a [f32],
    /// B, (b, l, groups·n).
    pub b: StoredInput<'a>,
    /// C, (b, l, groups·n).
    pub c: StoredInput<'a>,
    /// D, (e).
    pub d: Option<&'a [f32]>,
    /// The gate, (b, l, e).
    pub z: Option<StoredInput<'a>>,
    /// (e).
    pub dt_bias: Option<&'a [f32]>,
}

/// Floats of scratch that each part needs.
pub fn scratch(n: usize) -> usize {
    tile::scratch(n)
}

impl Scan<'_> {
    /// Runs this part of the channels: writes its part of `y` (b, l, e) and updates its part of `state` (b, n, e). `scratch` holds at least
    /// [`scratch`]`(n)` floats.
    pub fn run(&self, level: Level, part: usize, parts: usize, state: SharedOut, y: StoredOut, scratch: &mut [f32]) {
        level.run(tile::Part { op: self, part, parts, state, y, scratch });
    }
}
