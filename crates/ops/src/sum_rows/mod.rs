//! `acc[b] += Σ_t x[b,t]` over the valid rows, in order of t: pooling over any length in constant memory.

#[cfg(feature = "cuda")]
pub mod cuda;

use statespace_simd::{Isa, Kernel, Level, SharedOut};

use crate::rows::{Part, Rows, split};

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

/// Channels summed together.
const TILE: usize = 64;

/// Operands.
#[derive(Clone, Copy, Debug)]
pub struct SumRows<'a> {
    /// Rows.
    pub rows: Rows<'a>,
    /// Width of a row.
    pub d: usize,
    /// (b, l, d).
    pub x: &'a [f32],
}

impl SumRows<'_> {
    /// Adds to this part of `acc` (b, d); parts split its channels.
    pub fn run(&self, level: Level, part: usize, parts: usize, acc: SharedOut) {
        level.run(Part { op: self, part, parts, y: acc });
    }
}

impl Kernel for Part<'_, SumRows<'_>> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let SumRows { rows, d, x } = *self.op;
        let tiles = d.div_ceil(TILE);
        for tile in split(rows.b * tiles, self.part, self.parts) {
            let (b, start) = (tile / tiles, tile % tiles * TILE);
            let acc = self.y.slice_mut(b * d + start..b * d + (start + TILE).min(d));
            for t in 0..rows.valid(b) {
                let x = &x[(b * rows.l + t) * d + start..][..acc.len()];
                for (acc, x) in acc.chunks_mut(I::LANES).zip(x.chunks(I::LANES)) {
                    isa.store_partial(acc, isa.add(isa.load_partial(acc), isa.load_partial(x)));
                }
            }
        }
    }
}
