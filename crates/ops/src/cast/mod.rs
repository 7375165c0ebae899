//! `y = x` in another floating type; narrowing rounds to nearest, ties to even.

#[cfg(feature = "cuda")]
pub mod cuda;

use half::{bf16, f16};
use statespace_plan::ops::To;
use statespace_simd::{Isa, Kernel, Level};

use crate::rows::{Mat, Part, Rows};
use crate::stored::{Stored, StoredOut};

/// The definition: `x` (b, l, d) holds values of a stored type, `y` (b, l, d) those of type `to`, both widened to f64.
pub fn reference(rows: Rows, d: usize, x: Mat<f64>, to: To, y: &mut [f64]) {
    for r in rows.iter() {
        for c in 0..d {
            // Every stored type fits an f32, so the narrowing below is the only rounding.
            let v = x.row(r, d)[c] as f32;
            y[r * d + c] = match to {
                To::F32 => f64::from(v),
                To::Bf16 => f64::from(bf16::from_f32(v)),
                To::F16 => f64::from(f16::from_f32(v)),
            };
        }
    }
}

/// Operands.
#[derive(Clone, Copy, Debug)]
pub struct Cast<'a> {
    /// Rows.
    pub rows: Rows<'a>,
    /// Width of a row.
    pub d: usize,
    /// (b, l, d).
    pub x: Stored<'a>,
    /// Elements between the starts of two rows of `x`.
    pub ld: usize,
}

impl Cast<'_> {
    /// Writes this part of `y` (b, l, d), whose type is the one cast to; parts split the rows.
    pub fn run(&self, level: Level, part: usize, parts: usize, y: StoredOut) {
        level.run(Part { op: self, part, parts, y });
    }
}

impl Kernel for Part<'_, Cast<'_>, StoredOut<'_>> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let Cast { rows, d, x, ld } = *self.op;
        for r in rows.part(self.part, self.parts) {
            for start in (0..d).step_by(I::LANES) {
                let end = (start + I::LANES).min(d);
                let value = x.load(isa, r * ld + start..r * ld + end);
                self.y.store(isa, r * d + start..r * d + end, value);
            }
        }
    }
}
