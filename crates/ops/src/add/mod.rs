//! `y = a + c`.

use crate::rows::Rows;

/// The definition, in f64; all (b, l, d).
pub fn reference(rows: Rows, d: usize, a: &[f64], c: &[f64], y: &mut [f64]) {
    for i in rows.iter().flat_map(|r| r * d..(r + 1) * d) {
        y[i] = a[i] + c[i];
    }
}
