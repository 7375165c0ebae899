//! `y = log(1 + exp(x))` for x ≤ 20, else x: the scan's Δ, for looking at it.

#[cfg(feature = "cuda")]
pub mod cuda;

use statespace_simd::{Isa, Kernel, Level, SharedOut, math as vector};

use crate::math;
use crate::rows::{Input, Mat, Part, Rows};

/// The definition, in f64; both (b, l, d).
pub fn reference(rows: Rows, d: usize, x: Mat<f64>, y: &mut [f64]) {
    for r in rows.iter() {
        for c in 0..d {
            y[r * d + c] = math::softplus(x.row(r, d)[c]);
        }
    }
}

/// Operands.
#[derive(Clone, Copy, Debug)]
pub struct Softplus<'a> {
    /// Rows.
    pub rows: Rows<'a>,
    /// Width of a row.
    pub d: usize,
    /// (b, l, d).
    pub x: Input<'a>,
}

impl Softplus<'_> {
    /// Writes this part of `y` (b, l, d); parts split the rows.
    pub fn run(&self, level: Level, part: usize, parts: usize, y: SharedOut) {
        level.run(Part { op: self, part, parts, y });
    }
}

impl Kernel for Part<'_, Softplus<'_>> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let Softplus { rows, d, x } = *self.op;
        for r in rows.part(self.part, self.parts) {
            for (i, y) in self.y.slice_mut(r * d..(r + 1) * d).chunks_mut(I::LANES).enumerate() {
                let x = isa.load_partial(x.segment(r, i * I::LANES..i * I::LANES + y.len(), y));
                isa.store_partial(y, vector::softplus(isa, x));
            }
        }
    }
}
