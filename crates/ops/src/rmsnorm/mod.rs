//! Root-mean-square normalization over the last axis (Zhang and Sennrich, arXiv 1910.07467): `y = x / sqrt(mean(x²) + eps) · weight`.

use crate::rows::{Mat, Rows};

/// The definition, in f64: `x` (b, l, d), `weight` (d), `y` (b, l, d).
pub fn reference(rows: Rows, d: usize, x: Mat<f64>, weight: Option<&[f64]>, eps: f64, y: &mut [f64]) {
    for r in rows.iter() {
        let row = x.row(r, d);
        let mean = row.iter().map(|v| v * v).sum::<f64>() / d as f64;
        for c in 0..d {
            y[r * d + c] = row[c] / (mean + eps).sqrt() * weight.map_or(1.0, |w| w[c]);
        }
    }
}
