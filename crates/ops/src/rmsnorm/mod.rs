//! Root-mean-square normalization over the last axis (Zhang and Sennrich, arXiv 1910.07467): `y = x / sqrt(mean(x²) + eps) · weight`.

#[cfg(feature = "cuda")]
pub mod cuda;

use statespace_simd::{Isa, Kernel, Level, SharedOut};

use crate::rows::{Input, Mat, Part, Rows};

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

/// Operands.
#[derive(Clone, Copy, Debug)]
pub struct Rmsnorm<'a> {
    /// Rows.
    pub rows: Rows<'a>,
    /// Width of a row, over which the mean goes.
    pub d: usize,
    /// (b, l, d).
    pub x: Input<'a>,
    /// (d).
    pub weight: Option<&'a [f32]>,
    /// Added to the mean square.
    pub eps: f32,
}

impl Rmsnorm<'_> {
    /// Writes this part of `y` (b, l, d); parts split the rows.
    pub fn run(&self, level: Level, part: usize, parts: usize, y: SharedOut) {
        level.run(Part { op: self, part, parts, y });
    }
}

impl Kernel for Part<'_, Rmsnorm<'_>> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let Rmsnorm { rows, d, x, weight, eps } = *self.op;
        for r in rows.part(self.part, self.parts) {
            let y = self.y.slice_mut(r * d..(r + 1) * d);
            // Four sums, so that the additions of one do not wait for each other.
            let mut sums = [isa.zero(); 4];
            for (i, x) in x.segment(r, 0..d, y).chunks(I::LANES).enumerate() {
                let x = isa.load_partial(x);
                sums[i % 4] = isa.fma(x, x, sums[i % 4]);
            }
            let sum = isa.reduce_add(isa.add(isa.add(sums[0], sums[1]), isa.add(sums[2], sums[3])));
            let scale = isa.splat(1.0 / (sum / d as f32 + eps).sqrt());
            for start in (0..d).step_by(I::LANES) {
                let columns = start..(start + I::LANES).min(d);
                let mut value = isa.mul(isa.load_partial(x.segment(r, columns.clone(), &y[columns.clone()])), scale);
                if let Some(weight) = weight {
                    value = isa.mul(value, isa.load_partial(&weight[columns.clone()]));
                }
                isa.store_partial(&mut y[columns], value);
            }
        }
    }
}
