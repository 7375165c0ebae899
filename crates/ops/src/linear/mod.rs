//! `y = x·Wᵀ + bias + residual`, the speed of the product.
//!
//! W is (m, k) and stays as the checkpoint stores it, in its stored width, in mapped memory of any alignment. Two ways through it:
//!
//! - *few* rows of x (decoding): W is streamed once, lanes along k; memory bounds it.
//! - *many* rows (a prompt): W is widened and transposed by panels into scratch that stays in the cache; arithmetic bounds it.
//!
//! The number of valid rows alone decides which, and each output is summed in one order, so the bits do not depend on the number of parts.
//! With `compute` bf16, x and an f32 W are rounded to bf16 (to nearest, ties to even) before the product; sums stay f32. Where the CPU multiplies
//! pairs of bf16 ([`Isa::BF16_DOT`]) and W is bf16 or f32, pairs of columns pass in the place of columns: twice the multiplications an
//! instruction, each product added with a rounding of its own, subnormal factors and sums taken as zero. Elsewhere, and with an f16 W, which is
//! not rounded, the factors are multiplied as f32.

#[cfg(feature = "cuda")]
pub mod cuda;
pub(crate) mod few;
pub(crate) mod many;

#[cfg(test)]
mod tests;

use half::bf16;
use statespace_plan::DType;
use statespace_plan::ops::Compute;
use statespace_simd::{Bf16, Bf16Pair, Element, F16, F32, F32AsBf16, F32Pair, Isa, Kernel, Level, SharedOut};

use crate::rows::{Input, Mat, Rows};
use crate::stored::Stored;

/// Operands of [`reference()`]; see [`Linear`] for what each is.
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    /// Rows.
    pub rows: Rows<'a>,
    /// Columns of x and of the weight.
    pub k: usize,
    /// Rows of the weight, columns of y.
    pub m: usize,
    /// Whether factors are rounded.
    pub compute: Compute,
    /// (b, l, k).
    pub x: Mat<'a, f64>,
    /// (m, k), widened.
    pub weight: &'a [f64],
    /// How the weight is stored: `compute` bf16 rounds an f32 one.
    pub dtype: DType,
    /// (m).
    pub bias: Option<&'a [f64]>,
    /// (b, l, m).
    pub residual: Option<&'a [f64]>,
}

/// The definition, in f64; `y` (b, l, m).
pub fn reference(op: &Reference, y: &mut [f64]) {
    let Reference { k, m, .. } = *op;
    for r in op.rows.iter() {
        for j in 0..m {
            let sum = product(op.compute, op.dtype, op.x.row(r, k), &op.weight[j * k..][..k]);
            y[r * m + j] = sum + op.bias.map_or(0.0, |bias| bias[j]) + op.residual.map_or(0.0, |residual| residual[r * m + j]);
        }
    }
}

/// Σ x·w with the factors rounded as `compute` says.
pub(crate) fn product(compute: Compute, dtype: DType, x: &[f64], weight: &[f64]) -> f64 {
    // By way of f32: the direct conversion of `half` drops bits before it rounds.
    let round = |on: bool, value: f64| if on { bf16::from_f32(value as f32).to_f64() } else { value };
    let (x_rounds, weight_rounds) = (compute == Compute::Bf16, compute == Compute::Bf16 && dtype == DType::F32);
    x.iter().zip(weight).map(|(&x, &w)| round(x_rounds, x) * round(weight_rounds, w)).sum()
}

/// Operands.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a> {
    /// Rows.
    pub rows: Rows<'a>,
    /// Columns of x and of the weight.
    pub k: usize,
    /// Rows of the weight, columns of y.
    pub m: usize,
    /// Whether factors are rounded to bf16.
    pub compute: Compute,
    /// (b, l, k).
    pub x: Mat<'a>,
    /// (m, k).
    pub weight: Stored<'a>,
    /// (m).
    pub bias: Option<&'a [f32]>,
    /// (b, l, m).
    pub residual: Option<Input<'a>>,
}

impl Linear<'_> {
    /// Floats of scratch that each part of a run needs, for up to `rows` valid rows of `k` columns.
    pub fn scratch_floats(rows: usize, k: usize, compute: Compute) -> usize {
        let rounded = match compute {
            Compute::F32 => 0,
            Compute::Bf16 => rows.min(few::ROWS).saturating_mul(k).max(rows.saturating_mul(many::DEPTH)),
        };
        rounded.saturating_add(many::PANEL_FLOATS)
    }

    /// Writes this part of `y` (b, l, m); parts split the outputs.
    ///
    /// # Panics
    /// When `scratch` is shorter than [`Self::scratch_floats`], or an operand than its shape.
    pub fn run(&self, level: Level, part: usize, parts: usize, y: SharedOut, scratch: &mut [f32]) {
        level.run(Part { op: self, part, parts, y, scratch });
    }
}

struct Part<'a> {
    op: &'a Linear<'a>,
    part: usize,
    parts: usize,
    y: SharedOut<'a>,
    scratch: &'a mut [f32],
}

impl Part<'_> {
    #[inline(always)]
    fn with<I: Isa, E: Element>(self, isa: I, weight: &[u8]) {
        let weight = &weight[..self.op.m * pitch::<E>(self.op.k)];
        if self.op.rows.count() <= few::ROWS {
            few::run::<I, E>(isa, self, weight);
        } else {
            many::run::<I, E>(isa, self, weight);
        }
    }
}

impl Kernel for Part<'_> {
    const PAIRS: bool = true;
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        match (self.op.weight, self.op.compute) {
            (Stored::F32(weight), Compute::F32) => self.with::<I, F32>(isa, weight),
            (Stored::F32(weight), Compute::Bf16) if I::BF16_DOT => self.with::<I, F32Pair>(isa, weight),
            (Stored::Bf16(weight), Compute::Bf16) if I::BF16_DOT => self.with::<I, Bf16Pair>(isa, weight),
            (Stored::F32(weight), Compute::Bf16) => self.with::<I, F32AsBf16>(isa, weight),
            (Stored::Bf16(weight), _) => self.with::<I, Bf16>(isa, weight),
            (Stored::F16(weight), _) => self.with::<I, F16>(isa, weight),
        }
    }
}

/// Bytes of a weight's row of `k` columns.
#[inline(always)]
pub(crate) const fn pitch<E: Element>(k: usize) -> usize {
    k * (E::BYTES / E::COLUMNS)
}

/// Rounds each element of `x` to bf16: as f32, or as pairs when E is one, a last half filled with zero.
#[inline(always)]
pub(crate) fn round<I: Isa, E: Element>(isa: I, x: &[f32], to: &mut [f32]) {
    for (x, to) in x.chunks(E::COLUMNS * I::LANES).zip(to.chunks_mut(I::LANES)) {
        let (first, second) = x.split_at(x.len().min(I::LANES));
        let (first, second) = (isa.load_partial(first), isa.load_partial(second));
        isa.store_partial(to, if E::COLUMNS == 2 { isa.pair_bf16(first, second) } else { isa.round_bf16(first) });
    }
}
