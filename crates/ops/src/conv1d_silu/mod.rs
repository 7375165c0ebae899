//! Causal depthwise convolution, then SiLU: `y[t] = silu(bias + Σ_j weight[j] · x[t − (w−1) + j])`, one filter of width w a channel.
//!
//! `weight[w−1]` multiplies the current sample. Samples before the first come from `state`, the last w−1 inputs, oldest first; it is left as
//! the last w−1 inputs at `lens`, so that a sequence may be cut anywhere.

use crate::math;
use crate::rows::{Mat, Rows};

/// The definition, in f64: `x` (b, l, e), `weight` (w, e), `bias` (e), `state` (b, w−1, e), `y` (b, l, e).
#[allow(clippy::too_many_arguments)]
pub fn reference(rows: Rows, e: usize, w: usize, x: Mat<f64>, weight: &[f64], bias: Option<&[f64]>, state: &mut [f64], y: &mut [f64]) {
    for b in 0..rows.b {
        let valid = rows.valid(b);
        for c in 0..e {
            // The whole past of this channel: w-1 kept samples, then this run's.
            let kept = (0..w - 1).map(|j| state[(b * (w - 1) + j) * e + c]);
            let samples: Vec<f64> = kept.chain((0..valid).map(|t| x.row(b * rows.l + t, e)[c])).collect();
            for t in 0..valid {
                let sum: f64 = (0..w).map(|j| weight[j * e + c] * samples[t + j]).sum();
                y[(b * rows.l + t) * e + c] = math::silu(sum + bias.map_or(0.0, |v| v[c]));
            }
            for j in 0..w - 1 {
                state[(b * (w - 1) + j) * e + c] = samples[valid + j];
            }
        }
    }
}
