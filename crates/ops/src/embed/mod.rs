//! Token embedding: `y[b,t] = weight[tokens[b,t]]`, the row widened to f32.
//!
//! An id outside `0..v` gives a row of NaN: the host checks ids before a run, and a mistake there must be seen, not read as another token.

use crate::rows::Rows;

/// The definition, in f64: `tokens` (b, l), `weight` (v, d), `y` (b, l, d).
pub fn reference(rows: Rows, d: usize, tokens: &[i32], weight: &[f64], y: &mut [f64]) {
    for r in rows.iter() {
        for c in 0..d {
            let id = usize::try_from(tokens[r]).unwrap_or(usize::MAX);
            y[r * d + c] = if id < weight.len() / d { weight[id * d + c] } else { f64::NAN };
        }
    }
}
