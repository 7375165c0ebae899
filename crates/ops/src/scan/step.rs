//! The fast scan of a single step.
//!
//! A and h are each touched once, so nothing is copied; instead a run of tiles goes through the passes of [`super::tile`] together, which
//! gives the short loops of the first and last pass something to overlap. Every channel's arithmetic is that of a longer run.

use std::ops::Range;

use statespace_simd::{Isa, SharedOut, math as vector};

use super::Scan;
use super::exp2::exp2_any;
use super::tile::{VECTORS, shared_rows, softplus_with};
use crate::rows::Mat;
use crate::stored::StoredOut;

/// Neighboring channels of a group, as many tiles of them as scratch has room for.
pub(super) struct Step<'a, 's> {
    pub op: &'a Scan<'a>,
    pub batch: usize,
    pub group: usize,
    pub channels: Range<usize>,
    pub state: &'a mut SharedOut<'s>,
    pub y: &'a mut StoredOut<'s>,
    /// s, then Δ·log₂e, then z, of each channel, up to whole vectors.
    pub delta: &'a mut [f32],
    /// u, then Δ·u.
    pub x: &'a mut [f32],
    /// D·u, then D·u + Σ C·h.
    pub sum: &'a mut [f32],
    /// For B and C, where they are to be widened.
    pub bc: &'a mut [f32],
}

impl Step<'_, '_> {
    #[inline(always)]
    pub fn run<I: Isa>(mut self, isa: I) {
        self.prepare(isa);
        let width = VECTORS * I::LANES;
        let bc = shared_rows(isa, self.op, self.batch, self.group, 0..1, std::mem::take(&mut self.bc));
        for start in (0..self.channels.len()).step_by(width) {
            self.recur(isa, start, bc);
        }
        self.finish(isa);
    }

    #[inline(always)]
    fn prepare<I: Isa>(&mut self, isa: I) {
        let Scan { e, softplus, u, dt, d, dt_bias, .. } = *self.op;
        let columns = self.channels.clone();
        let count = columns.len();
        let out = self.y.segment(self.batch * e + columns.start..self.batch * e + columns.end);
        let (u, dt) = (u.segment(self.batch, columns.clone(), out), dt.segment(self.batch, columns.clone(), out));
        let of = |from: Option<&[f32]>, at: usize| from.map_or(isa.zero(), |from| isa.load_partial(&from[columns.start + at..columns.end]));
        for at in (0..count).step_by(I::LANES) {
            let s = isa.add(dt.load(isa, at), of(dt_bias, at));
            isa.store(&mut self.delta[at..], s);
            isa.store(&mut self.x[at..], u.load(isa, at));
            isa.store(&mut self.sum[at..], vector::exp(isa, isa.neg(isa.abs(s))));
        }
        for at in (0..count).step_by(I::LANES) {
            let (s, u) = (isa.load(&self.delta[at..]), isa.load(&self.x[at..]));
            let delta = if softplus { softplus_with(isa, s, isa.load(&self.sum[at..])) } else { s };
            isa.store(&mut self.delta[at..], isa.mul(delta, isa.splat(std::f32::consts::LOG2_E)));
            isa.store(&mut self.x[at..], isa.mul(delta, u));
            isa.store(&mut self.sum[at..], isa.mul(of(d, at), u));
        }
    }

    /// The recurrence of the tile at `start`.
    #[inline(always)]
    fn recur<I: Isa>(&mut self, isa: I, start: usize, [b, c]: [Mat; 2]) {
        let Scan { e, n, a, .. } = *self.op;
        let (mut delta, mut x, mut sum) = ([isa.zero(); VECTORS], [isa.zero(); VECTORS], [isa.zero(); VECTORS]);
        for k in 0..VECTORS {
            let at = start + k * I::LANES;
            delta[k] = isa.load(&self.delta[at..]);
            x[k] = isa.load(&self.x[at..]);
            sum[k] = isa.load(&self.sum[at..]);
        }
        let columns = self.channels.start + start..(self.channels.start + start + VECTORS * I::LANES).min(self.channels.end);
        for (i, (b, c)) in b.row(0, n).iter().zip(c.row(0, n)).enumerate() {
            let (b, c) = (isa.splat(*b), isa.splat(*c));
            let row = (self.batch * n + i) * e;
            let a = &a[i * e..][columns.clone()];
            let h = self.state.slice_mut(row + columns.start..row + columns.end);
            for k in 0..VECTORS {
                let at = (k * I::LANES).min(a.len());
                let decay = exp2_any(isa, isa.mul(delta[k], isa.load_partial(&a[at..])));
                let next = isa.fma(decay, isa.load_partial(&h[at..]), isa.mul(x[k], b));
                isa.store_partial(&mut h[at..], next);
                sum[k] = isa.fma(c, next, sum[k]);
            }
        }
        for k in 0..VECTORS {
            isa.store(&mut self.sum[start + k * I::LANES..], sum[k]);
        }
    }

    #[inline(always)]
    fn finish<I: Isa>(&mut self, isa: I) {
        let Scan { e, z, .. } = *self.op;
        let columns = self.channels.clone();
        let (first, z) = (self.batch * e + columns.start, z.map(|z| z.row(self.batch, columns.clone())));
        for at in (0..columns.len()).step_by(I::LANES) {
            let mut value = isa.load(&self.sum[at..]);
            if let Some(z) = z {
                value = isa.mul(value, vector::silu(isa, z.load(isa, at)));
            }
            self.y.store(isa, first + at..first + (at + I::LANES).min(columns.len()), value);
        }
    }
}
