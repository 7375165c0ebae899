//! Causal depthwise convolution, then SiLU: `y[t] = silu(bias + Σ_j weight[j] · x[t − (w−1) + j])`, one filter of width w a channel.
//!
//! `weight[w−1]` multiplies the current sample. Samples before the first come from `state`, the last w−1 inputs, oldest first; it is left as
//! the last w−1 inputs at `lens`, so that a sequence may be cut anywhere.

use statespace_simd::{Isa, Kernel, Level, SharedOut, math as vector};

use crate::math;
use crate::rows::{Mat, Rows, split};

/// The definition, in f64: `x` (b, l, e), `weight` (w, e), `bias` (e), `state` (b, w−1, e), `y` (b, l, e).
#[allow(clippy::too_many_arguments)]
pub fn reference(rows: Rows, e: usize, w: usize, x: Mat<f64>, weight: &[f64], bias: Option<&[f64]>, state: &mut [f64], y: &mut [f64]) {
    for b in 0..rows.b {
        let valid = rows.valid(b);
        for c in 0..e {
            // The whole past of this channel: w-1 kept samples, then this run's.
            let kept = (0..w - 1).map(|j| state[(b * (w - 1) + j) * e + c]);
            let samples: Vec<f64> = kept.chain((0..valid).map(|t| x.row(b * rows.l + t, e)[c])).collect();
            for t in 0..valid {
                let sum: f64 = (0..w).map(|j| weight[j * e + c] * samples[t + j]).sum();
                y[(b * rows.l + t) * e + c] = math::silu(sum + bias.map_or(0.0, |v| v[c]));
            }
            for j in 0..w - 1 {
                state[(b * (w - 1) + j) * e + c] = samples[valid + j];
            }
        }
    }
}

/// Channels worked on together: a multiple of every vector length and of a cache line.
const TILE: usize = 64;

/// Operands.
#[derive(Clone, Copy, Debug)]
pub struct Conv1dSilu<'a> {
    /// Rows.
    pub rows: Rows<'a>,
    /// Channels.
    pub e: usize,
    /// Taps, at least 1.
    pub w: usize,
    /// (b, l, e).
    pub x: Mat<'a>,
    /// (w, e).
    pub weight: &'a [f32],
    /// (e).
    pub bias: Option<&'a [f32]>,
}

impl Conv1dSilu<'_> {
    /// Writes this part of `y` (b, l, e) and of `state` (b, w−1, e); parts split the channels.
    pub fn run(&self, level: Level, part: usize, parts: usize, state: SharedOut, y: SharedOut) {
        level.run(Part { op: self, part, parts, state, y });
    }
}

struct Part<'a> {
    op: &'a Conv1dSilu<'a>,
    part: usize,
    parts: usize,
    state: SharedOut<'a>,
    y: SharedOut<'a>,
}

impl Kernel for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let e = self.op.e;
        let tiles = e.div_ceil(TILE);
        for tile in split(self.op.rows.b * tiles, self.part, self.parts) {
            let (b, start) = (tile / tiles, tile % tiles * TILE);
            for t in 0..self.op.rows.valid(b) {
                for c in (start..(start + TILE).min(e)).step_by(I::LANES) {
                    self.output(isa, b, t, c);
                }
            }
            for c in (start..(start + TILE).min(e)).step_by(I::LANES) {
                self.shift(isa, b, c);
            }
        }
    }
}

impl Part<'_> {
    /// Sample `at` of the past of batch row `b`, counted from the oldest in `state`, for up to a vector of channels from `c`.
    #[inline(always)]
    fn sample<I: Isa>(&mut self, isa: I, b: usize, at: usize, c: usize) -> I::F32 {
        let Conv1dSilu { rows, e, w, x, .. } = *self.op;
        let end = (c + I::LANES).min(e);
        if at < w - 1 {
            let row = (b * (w - 1) + at) * e;
            isa.load_partial(self.state.slice_mut(row + c..row + end))
        } else {
            let row = (b * rows.l + at - (w - 1)) * x.ld;
            isa.load_partial(&x.data[row + c..row + end])
        }
    }

    #[inline(always)]
    fn output<I: Isa>(&mut self, isa: I, b: usize, t: usize, c: usize) {
        let Conv1dSilu { rows, e, w, weight, bias, .. } = *self.op;
        let end = (c + I::LANES).min(e);
        let mut sum = bias.map_or(isa.zero(), |bias| isa.load_partial(&bias[c..end]));
        for j in 0..w {
            sum = isa.fma(isa.load_partial(&weight[j * e + c..j * e + end]), self.sample(isa, b, t + j, c), sum);
        }
        let row = (b * rows.l + t) * e;
        isa.store_partial(self.y.slice_mut(row + c..row + end), vector::silu(isa, sum));
    }

    /// Leaves the last w−1 samples in `state`. Ascending, so that each is read before its place is written.
    #[inline(always)]
    fn shift<I: Isa>(&mut self, isa: I, b: usize, c: usize) {
        let Conv1dSilu { rows, e, w, .. } = *self.op;
        for j in 0..w - 1 {
            let sample = self.sample(isa, b, rows.valid(b) + j, c);
            let row = (b * (w - 1) + j) * e;
            isa.store_partial(self.state.slice_mut(row + c..row + (c + I::LANES).min(e)), sample);
        }
    }
}
