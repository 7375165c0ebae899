//! Token embedding: `y[b,t] = weight[tokens[b,t]]`, the row widened to f32.
//!
//! An id outside `0..v` gives a row of NaN: the host checks ids before a run, and a mistake there must be seen, not read as another token.

#[cfg(feature = "cuda")]
pub mod cuda;

use statespace_simd::{Isa, Kernel, Level, SharedOut};

use crate::rows::{Part, Rows};
use crate::stored::Stored;

/// The definition, in f64: `tokens` (b, l), `weight` (v, d), `y` (b, l, d).
pub fn reference(rows: Rows, d: usize, tokens: &[i32], weight: &[f64], y: &mut [f64]) {
    for r in rows.iter() {
        for c in 0..d {
            let id = usize::try_from(tokens[r]).unwrap_or(usize::MAX);
            y[r * d + c] = if id < weight.len() / d { weight[id * d + c] } else { f64::NAN };
        }
    }
}

/// Operands.
#[derive(Clone, Copy, Debug)]
pub struct Embed<'a> {
    /// Rows.
    pub rows: Rows<'a>,
    /// Width of a row.
    pub d: usize,
    /// (b, l).
    pub tokens: &'a [i32],
    /// (v, d).
    pub weight: Stored<'a>,
}

impl Embed<'_> {
    /// Writes this part of `y` (b, l, d); parts split the rows.
    pub fn run(&self, level: Level, part: usize, parts: usize, y: SharedOut) {
        level.run(Part { op: self, part, parts, y });
    }
}

impl Kernel for Part<'_, Embed<'_>> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let Embed { rows, d, tokens, weight } = *self.op;
        for r in rows.part(self.part, self.parts) {
            let y = self.y.slice_mut(r * d..(r + 1) * d);
            let id = usize::try_from(tokens[r]).unwrap_or(usize::MAX);
            if id >= weight.len() / d.max(1) {
                y.fill(f32::NAN);
                continue;
            }
            for (i, y) in y.chunks_mut(I::LANES).enumerate() {
                let start = id * d + i * I::LANES;
                isa.store_partial(y, weight.load(isa, start..start + y.len()));
            }
        }
    }
}
