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

mod reference;

pub use reference::{Reference, reference};
