//! Causal depthwise convolution, then SiLU: `y[t] = silu(bias + Σ_j weight[j] · x[t − (w−1) + j])`, one filter of width w a channel.
//!
//! `weight[w−1]` multiplies the current sample. Samples before the first come from `state`, the last w−1 inputs, oldest first; it is left as
//! the last w−1 inputs at `lens`, so that a sequence may be cut anywhere.

#[cfg(feature = "cuda")]
pub mod cuda;

use std::ops::Range;

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
    fn eval<I: Isa>(self, isa: I) {
        // The width of every released model, unrolled; then any.
        match self.op.w {
            4 => self.tiles::<I, 4>(isa),
            _ => self.tiles::<I, 0>(isa),
        }
    }
}

impl Part<'_> {
    /// `W` taps, or as many as there are when 0.
    #[inline(always)]
    fn tiles<I: Isa, const W: usize>(mut self, isa: I) {
        let Conv1dSilu { rows, e, .. } = *self.op;
        let w = if W == 0 { self.op.w } else { W };
        let tiles = e.div_ceil(TILE);
        for tile in split(rows.b * tiles, self.part, self.parts) {
            let (b, start) = (tile / tiles, tile % tiles * TILE);
            let columns = start..(start + TILE).min(e);
            let valid = rows.valid(b);
            for t in 0..valid.min(w - 1) {
                self.early(isa, b, t, columns.clone());
            }
            for t in w - 1..valid {
                self.late::<I, W>(isa, b, t, columns.clone());
            }
            self.shift(b, columns);
        }
    }

    /// Outputs at a `t` whose taps lie in `x` alone.
    #[inline(always)]
    fn late<I: Isa, const W: usize>(&mut self, isa: I, b: usize, t: usize, columns: Range<usize>) {
        let Conv1dSilu { rows, e, x, weight, bias, .. } = *self.op;
        let w = if W == 0 { self.op.w } else { W };
        let row = b * rows.l + t;
        let past = &x.data[(row + 1 - w) * x.ld..row * x.ld + e];
        let y = self.y.slice_mut(row * e + columns.start..row * e + columns.end);
        for (c, y) in columns.clone().step_by(I::LANES).zip(y.chunks_mut(I::LANES)) {
            let end = c + y.len();
            let mut sum = bias.map_or(isa.zero(), |bias| isa.load_partial(&bias[c..end]));
            for j in 0..w {
                let tap = isa.load_partial(&weight[j * e + c..j * e + end]);
                sum = isa.fma(tap, isa.load_partial(&past[j * x.ld + c..j * x.ld + end]), sum);
            }
            isa.store_partial(y, sum);
        }
        activate(isa, y);
    }

    /// Outputs at a `t` that reaches into `state`: tap by tap over the tile, so that where a sample comes from is asked once a row, not once
    /// a vector.
    #[inline(always)]
    fn early<I: Isa>(&mut self, isa: I, b: usize, t: usize, columns: Range<usize>) {
        let Conv1dSilu { rows, e, w, weight, bias, .. } = *self.op;
        let mut sums = [0.0; TILE];
        let sums = &mut sums[..columns.len()];
        if let Some(bias) = bias {
            sums.copy_from_slice(&bias[columns.clone()]);
        }
        for j in 0..w {
            let taps = &weight[j * e + columns.start..j * e + columns.end];
            let samples = self.samples(b, t + j, columns.clone());
            for ((sum, tap), sample) in sums.chunks_mut(I::LANES).zip(taps.chunks(I::LANES)).zip(samples.chunks(I::LANES)) {
                let next = isa.fma(isa.load_partial(tap), isa.load_partial(sample), isa.load_partial(sum));
                isa.store_partial(sum, next);
            }
        }
        activate(isa, sums);
        let row = (b * rows.l + t) * e;
        self.y.slice_mut(row + columns.start..row + columns.end).copy_from_slice(sums);
    }

    /// Sample `at` of the past of batch row `b`, counted from the oldest in `state`.
    #[inline(always)]
    fn samples(&mut self, b: usize, at: usize, columns: Range<usize>) -> &[f32] {
        let Conv1dSilu { rows, e, w, x, .. } = *self.op;
        if at < w - 1 {
            let row = (b * (w - 1) + at) * e;
            self.state.slice_mut(row + columns.start..row + columns.end)
        } else {
            let row = (b * rows.l + at - (w - 1)) * x.ld;
            &x.data[row + columns.start..row + columns.end]
        }
    }

    /// Leaves the last w−1 samples in `state`. Ascending, so that each is read before its place is written.
    #[inline(always)]
    fn shift(&mut self, b: usize, columns: Range<usize>) {
        let Conv1dSilu { rows, e, w, .. } = *self.op;
        let mut kept = [0.0; TILE];
        let kept = &mut kept[..columns.len()];
        for j in 0..w - 1 {
            kept.copy_from_slice(self.samples(b, rows.valid(b) + j, columns.clone()));
            let row = (b * (w - 1) + j) * e;
            self.state.slice_mut(row + columns.start..row + columns.end).copy_from_slice(kept);
        }
    }
}

/// SiLU of sums, in a loop of its own: its chain is long, and a short loop has more of them in flight.
#[inline(always)]
fn activate<I: Isa>(isa: I, y: &mut [f32]) {
    for y in y.chunks_mut(I::LANES) {
        isa.store_partial(y, vector::silu(isa, isa.load_partial(y)));
    }
}
