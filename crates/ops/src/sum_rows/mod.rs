//! `acc[b] += Σ_t x[b,t]` over the valid rows, in order of t: pooling over any length in constant memory.

use crate::rows::Rows;

/// The definition, in f64: `x` (b, l, d), `acc` (b, d).
pub fn reference(rows: Rows, d: usize, x: &[f64], acc: &mut [f64]) {
    for b in 0..rows.b {
        for t in 0..rows.valid(b) {
            for c in 0..d {
                acc[b * d + c] += x[(b * rows.l + t) * d + c];
            }
        }
    }
}
