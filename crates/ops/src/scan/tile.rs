//! The fast scan.
//!
//! A tile is [`VECTORS`] vectors of neighboring channels. Its A and h are copied to scratch, where they stay in the first-level cache for
//! the whole run, and time is walked in blocks of [`STEPS`]:
//!
//! 1. per step and channel, once: Δ·log₂e, Δ·u and the skip D·u;
//! 2. per step, state index and channel: the recurrence, an exponential in base 2 being its cost;
//! 3. per step and channel, once: the gate.
//!
//! The steps of pass 2 depend on each other through h alone; its n·VECTORS chains are what hides latency. Tiles are independent, so parts
//! split them, and every channel's arithmetic is the same wherever it lies in a tile.

use std::ops::Range;

use statespace_simd::{Isa, Kernel, MAX_LANES, SharedOut, math as vector};

use super::Scan;
use super::exp2::{LIMIT, exp2, exp2_any};
use crate::rows::split;

/// Vectors of a tile; B and C are broadcast once for all of them.
const VECTORS: usize = 2;
/// Steps of a time block.
const STEPS: usize = 32;

pub(super) fn scratch(n: usize) -> usize {
    (2 * n + 3 * STEPS) * VECTORS * MAX_LANES
}

pub(super) struct Part<'a> {
    pub op: &'a Scan<'a>,
    pub part: usize,
    pub parts: usize,
    pub state: SharedOut<'a>,
    pub y: SharedOut<'a>,
    pub scratch: &'a mut [f32],
}

impl Kernel for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let Scan { rows, e, n, groups, .. } = *self.op;
        let width = VECTORS * I::LANES;
        // A tile lies within a group, so that its channels share B and C.
        let per_group = e / groups;
        let tiles = per_group.div_ceil(width);
        for tile in split(rows.b * groups * tiles, self.part, self.parts) {
            let (batch, group, start) = (tile / tiles / groups, tile / tiles % groups, tile % tiles * width);
            let channels = group * per_group + start..group * per_group + (start + width).min(per_group);
            let (a, scratch) = self.scratch.split_at_mut(n * width);
            let (h, scratch) = scratch.split_at_mut(n * width);
            let (delta, scratch) = scratch.split_at_mut(STEPS * width);
            let (x, scratch) = scratch.split_at_mut(STEPS * width);
            let sum = &mut scratch[..STEPS * width];
            let tile = Tile { op: self.op, batch, group, channels, a, h, delta, x, sum };
            tile.run(isa, &mut self.state, &mut self.y);
        }
    }
}

/// Scratch of a tile: rows of `VECTORS · LANES` floats. Lanes without a channel hold zeros or what follows from zeros.
struct Tile<'a> {
    op: &'a Scan<'a>,
    batch: usize,
    group: usize,
    channels: Range<usize>,
    /// n rows of A.
    a: &'a mut [f32],
    /// n rows of h.
    h: &'a mut [f32],
    /// A row per step: Δ·log₂e.
    delta: &'a mut [f32],
    /// A row per step: Δ·u.
    x: &'a mut [f32],
    /// A row per step: D·u, then D·u + Σ C·h.
    sum: &'a mut [f32],
}

impl Tile<'_> {
    #[inline(always)]
    fn run<I: Isa>(mut self, isa: I, state: &mut SharedOut, y: &mut SharedOut) {
        let width = VECTORS * I::LANES;
        let Scan { rows, e, n, .. } = *self.op;
        let valid = rows.valid(self.batch);
        if valid == 0 {
            return;
        }
        for i in 0..n {
            let at = (self.batch * n + i) * e;
            copy_padded(&mut self.a[i * width..][..width], &self.op.a[i * e..][self.channels.clone()]);
            copy_padded(&mut self.h[i * width..][..width], state.slice_mut(at + self.channels.start..at + self.channels.end));
        }
        let steepest = self.steepest(isa);
        for start in (0..valid).step_by(STEPS) {
            let times = start..(start + STEPS).min(valid);
            if self.prepare(isa, times.clone(), &steepest, y) {
                self.recur::<I, true>(isa, times.clone());
            } else {
                self.recur::<I, false>(isa, times.clone());
            }
            self.finish(isa, times, y);
        }
        for i in 0..n {
            let at = (self.batch * n + i) * e;
            let to = state.slice_mut(at + self.channels.start..at + self.channels.end);
            to.copy_from_slice(&self.h[i * width..][..to.len()]);
        }
    }

    /// The largest |A| of each channel.
    #[inline(always)]
    fn steepest<I: Isa>(&self, isa: I) -> [I::F32; VECTORS] {
        let mut steepest = [isa.zero(); VECTORS];
        for row in self.a.chunks_exact(VECTORS * I::LANES) {
            for (k, a) in row.chunks_exact(I::LANES).enumerate() {
                steepest[k] = isa.max(steepest[k], isa.abs(isa.load(a)));
            }
        }
        steepest
    }

    /// Channels of vector `k` of the tile.
    #[inline(always)]
    fn columns<I: Isa>(&self, k: usize) -> Range<usize> {
        let Range { start, end } = self.channels;
        (start + k * I::LANES).min(end)..(start + (k + 1) * I::LANES).min(end)
    }

    /// Pass 1; true when every exponent of pass 2 is within [`LIMIT`] (none is NaN).
    #[inline(always)]
    fn prepare<I: Isa>(&mut self, isa: I, times: Range<usize>, steepest: &[I::F32; VECTORS], y: &mut SharedOut) -> bool {
        let width = VECTORS * I::LANES;
        let Scan { rows, e, softplus, u, dt, d, dt_bias, .. } = *self.op;
        let mut beyond = isa.zero();
        for k in 0..VECTORS {
            let columns = self.columns::<I>(k);
            let bias = dt_bias.map_or(isa.zero(), |bias| isa.load_partial(&bias[columns.clone()]));
            let skip = d.map_or(isa.zero(), |d| isa.load_partial(&d[columns.clone()]));
            for (step, t) in times.clone().enumerate() {
                let row = self.batch * rows.l + t;
                let out = y.slice_mut(row * e + columns.start..row * e + columns.end);
                let u = isa.load_partial(u.segment(row, columns.clone(), out));
                let mut delta = isa.add(isa.load_partial(dt.segment(row, columns.clone(), out)), bias);
                if softplus {
                    delta = vector::softplus(isa, delta);
                }
                let scaled = isa.mul(delta, isa.splat(std::f32::consts::LOG2_E));
                let gentle = isa.lt(isa.mul(isa.abs(scaled), steepest[k]), isa.splat(LIMIT));
                beyond = isa.select(gentle, beyond, isa.splat(1.0));
                let at = step * width + k * I::LANES;
                isa.store(&mut self.delta[at..], scaled);
                isa.store(&mut self.x[at..], isa.mul(delta, u));
                isa.store(&mut self.sum[at..], isa.mul(skip, u));
            }
        }
        isa.reduce_max(beyond) == 0.0
    }

    /// Pass 2; `GENTLE` when [`Self::prepare`] says so.
    #[inline(always)]
    fn recur<I: Isa, const GENTLE: bool>(&mut self, isa: I, times: Range<usize>) {
        let width = VECTORS * I::LANES;
        let Scan { rows, n, b, c, .. } = *self.op;
        for (step, t) in times.enumerate() {
            let row = self.batch * rows.l + t;
            let b = &b.data[row * b.ld + self.group * n..][..n];
            let c = &c.data[row * c.ld + self.group * n..][..n];
            let at = step * width;
            let (mut delta, mut x, mut sum) = ([isa.zero(); VECTORS], [isa.zero(); VECTORS], [isa.zero(); VECTORS]);
            for k in 0..VECTORS {
                delta[k] = isa.load(&self.delta[at + k * I::LANES..]);
                x[k] = isa.load(&self.x[at + k * I::LANES..]);
                sum[k] = isa.load(&self.sum[at + k * I::LANES..]);
            }
            let states = self.a.chunks_exact(width).zip(self.h.chunks_exact_mut(width));
            for ((a, h), (b, c)) in states.zip(b.iter().zip(c)) {
                let (b, c) = (isa.splat(*b), isa.splat(*c));
                for k in 0..VECTORS {
                    let lanes = k * I::LANES..(k + 1) * I::LANES;
                    let p = isa.mul(delta[k], isa.load(&a[lanes.clone()]));
                    let decay = if GENTLE { exp2(isa, p) } else { exp2_any(isa, p) };
                    let next = isa.fma(decay, isa.load(&h[lanes.clone()]), isa.mul(x[k], b));
                    isa.store(&mut h[lanes], next);
                    sum[k] = isa.fma(c, next, sum[k]);
                }
            }
            for k in 0..VECTORS {
                isa.store(&mut self.sum[at + k * I::LANES..], sum[k]);
            }
        }
    }

    /// Pass 3.
    #[inline(always)]
    fn finish<I: Isa>(&self, isa: I, times: Range<usize>, y: &mut SharedOut) {
        let Scan { rows, e, z, .. } = *self.op;
        for (step, t) in times.enumerate() {
            let row = self.batch * rows.l + t;
            for k in 0..VECTORS {
                let columns = self.columns::<I>(k);
                let mut value = isa.load(&self.sum[step * VECTORS * I::LANES + k * I::LANES..]);
                if let Some(z) = z {
                    value = isa.mul(value, vector::silu(isa, isa.load_partial(&z.data[row * z.ld..][columns.clone()])));
                }
                isa.store_partial(y.slice_mut(row * e + columns.start..row * e + columns.end), value);
            }
        }
    }
}

#[inline(always)]
fn copy_padded(to: &mut [f32], from: &[f32]) {
    to[..from.len()].copy_from_slice(from);
    to[from.len()..].fill(0.0);
}
