//! The fast scan.
//!
//! Time is walked in blocks of [`STEPS`], and each block tile by tile: a tile is [`VECTORS`] vectors of neighboring channels, and a block's
//! rows, each on a page of its own, are few enough for the TLB. A tile's A and h are copied to scratch, where they lie densely, and go
//! through three passes:
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
use super::step::Step;
use crate::rows::{Input, Mat, split};
use crate::stored::{StoredInput, StoredOut};

/// Vectors of a tile; B and C are broadcast once for all of them.
pub(super) const VECTORS: usize = 2;
/// Steps of a time block.
pub(super) const STEPS: usize = 32;

pub(super) fn scratch(n: usize) -> usize {
    (2 * n + 3 * STEPS) * VECTORS * MAX_LANES + 2 * STEPS * n
}

pub(super) struct Part<'a> {
    pub op: &'a Scan<'a>,
    pub part: usize,
    pub parts: usize,
    pub state: SharedOut<'a>,
    pub y: StoredOut<'a>,
    pub scratch: &'a mut [f32],
}

impl Kernel for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let rows = self.op.rows;
        let cut = Cut::of::<I>(self.op);
        let per_batch = self.op.groups * cut.tiles;
        let mut left = split(rows.b * per_batch, self.part, self.parts);
        while !left.is_empty() {
            let batch = left.start / per_batch;
            let run = left.start..left.end.min((batch + 1) * per_batch);
            left.start = run.end;
            let valid = rows.valid(batch);
            if rows.l == 1 && valid == 1 {
                self.step(isa, &cut, run);
                continue;
            }
            for start in (0..valid).step_by(STEPS) {
                for tile in run.clone() {
                    self.tile(isa, &cut, tile, start..(start + STEPS).min(valid));
                }
            }
        }
    }
}

/// How channels are cut into tiles. A tile lies within a group, so that its channels share B and C.
struct Cut {
    /// Channels of a tile.
    width: usize,
    /// Channels of a group.
    per_group: usize,
    /// Tiles of a group.
    tiles: usize,
    groups: usize,
}

impl Cut {
    fn of<I: Isa>(op: &Scan) -> Self {
        let (width, per_group) = (VECTORS * I::LANES, op.e / op.groups);
        Self { width, per_group, tiles: per_group.div_ceil(width), groups: op.groups }
    }

    /// Batch row and group of a tile, and the channels of it and of the `more` that follow in its group.
    fn place(&self, tile: usize, more: usize) -> (usize, usize, Range<usize>) {
        let (batch, group, index) = (tile / self.tiles / self.groups, tile / self.tiles % self.groups, tile % self.tiles);
        let (first, start, end) = (group * self.per_group, index * self.width, (index + 1 + more) * self.width);
        (batch, group, first + start..first + end.min(self.per_group))
    }
}

impl Part<'_> {
    /// A tile's next steps.
    #[inline(always)]
    fn tile<I: Isa>(&mut self, isa: I, cut: &Cut, tile: usize, times: Range<usize>) {
        let (width, n) = (cut.width, self.op.n);
        let (batch, group, channels) = cut.place(tile, 0);
        let (delta, scratch) = self.scratch.split_at_mut(STEPS * width);
        let (x, scratch) = scratch.split_at_mut(STEPS * width);
        let (sum, scratch) = scratch.split_at_mut(STEPS * width);
        let (a, scratch) = scratch.split_at_mut(n * width);
        let (h, scratch) = scratch.split_at_mut(n * width);
        let bc = &mut scratch[..2 * STEPS * n];
        Tile { op: self.op, batch, group, channels, a, h, delta, x, sum, bc }.run(isa, times, &mut self.state, &mut self.y);
    }

    /// The only step of tiles of one batch row, as many at a time as scratch has room for.
    #[inline(always)]
    fn step<I: Isa>(&mut self, isa: I, cut: &Cut, mut run: Range<usize>) {
        while let Some(tile) = run.next() {
            let more = (cut.tiles - tile % cut.tiles - 1).min(run.len()).min(STEPS - 1);
            run.start += more;
            let (batch, group, channels) = cut.place(tile, more);
            let (delta, scratch) = self.scratch.split_at_mut(STEPS * cut.width);
            let (x, scratch) = scratch.split_at_mut(STEPS * cut.width);
            let (sum, scratch) = scratch.split_at_mut(STEPS * cut.width);
            let (bc, state, y) = (&mut scratch[..2 * self.op.n], &mut self.state, &mut self.y);
            Step { op: self.op, batch, group, channels, state, y, delta, x, sum, bc }.run(isa);
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
    /// A row per step: s, then Δ·log₂e, then z.
    delta: &'a mut [f32],
    /// A row per step: u, then Δ·u.
    x: &'a mut [f32],
    /// A row per step: D·u, then D·u + Σ C·h, then y.
    sum: &'a mut [f32],
    /// For B and C of every step, where they are to be widened.
    bc: &'a mut [f32],
}

impl Tile<'_> {
    #[inline(always)]
    fn run<I: Isa>(mut self, isa: I, times: Range<usize>, state: &mut SharedOut, y: &mut StoredOut) {
        let width = VECTORS * I::LANES;
        let Scan { e, n, .. } = *self.op;
        let mut steepest = [isa.zero(); VECTORS];
        for i in 0..n {
            let a = &self.op.a[i * e..][self.channels.clone()];
            let at = (self.batch * n + i) * e;
            let h = state.slice_mut(at + self.channels.start..at + self.channels.end);
            for k in 0..VECTORS {
                let (from, to) = ((k * I::LANES).min(a.len()), i * width + k * I::LANES);
                let a = isa.load_partial(&a[from..]);
                steepest[k] = isa.max(steepest[k], isa.abs(a));
                isa.store(&mut self.a[to..], a);
                isa.store(&mut self.h[to..], isa.load_partial(&h[from..]));
            }
        }
        if self.prepare(isa, times.clone(), &steepest, y) {
            self.recur::<I, true>(isa, times.clone());
        } else {
            self.recur::<I, false>(isa, times.clone());
        }
        self.finish(isa, times, y);
        for i in 0..n {
            let at = (self.batch * n + i) * e;
            let to = state.slice_mut(at + self.channels.start..at + self.channels.end);
            for (to, h) in to.chunks_mut(I::LANES).zip(self.h[i * width..].chunks_exact(I::LANES)) {
                isa.store_partial(to, isa.load(h));
            }
        }
    }

    /// Pass 1; true when every exponent of pass 2 is within [`LIMIT`] (none is NaN).
    ///
    /// In short loops, so that the CPU has many of their long chains in flight.
    #[inline(always)]
    fn prepare<I: Isa>(&mut self, isa: I, times: Range<usize>, steepest: &[I::F32; VECTORS], y: &mut StoredOut) -> bool {
        let width = VECTORS * I::LANES;
        let Scan { softplus, d, .. } = *self.op;
        let used = times.len() * width;
        let skip = self.channels_of(isa, d);
        self.gather(isa, times, y);
        let (delta, x, sum) = (&mut self.delta[..used], &mut self.x[..used], &mut self.sum[..used]);
        if softplus {
            for (s, tail) in delta.chunks_exact(I::LANES).zip(sum.chunks_exact_mut(I::LANES)) {
                isa.store(tail, vector::exp(isa, isa.neg(isa.abs(isa.load(s)))));
            }
            for (s, tail) in delta.chunks_exact_mut(I::LANES).zip(sum.chunks_exact(I::LANES)) {
                isa.store(s, softplus_with(isa, isa.load(s), isa.load(tail)));
            }
        }
        let mut beyond = isa.zero();
        let rows = delta.chunks_exact_mut(width).zip(x.chunks_exact_mut(width)).zip(sum.chunks_exact_mut(width));
        for ((delta, x), sum) in rows {
            for k in 0..VECTORS {
                let lanes = k * I::LANES..(k + 1) * I::LANES;
                let (step, u) = (isa.load(&delta[lanes.clone()]), isa.load(&x[lanes.clone()]));
                let scaled = isa.mul(step, isa.splat(std::f32::consts::LOG2_E));
                let gentle = isa.lt(isa.mul(isa.abs(scaled), steepest[k]), isa.splat(LIMIT));
                beyond = isa.select(gentle, beyond, isa.splat(1.0));
                isa.store(&mut delta[lanes.clone()], scaled);
                isa.store(&mut x[lanes.clone()], isa.mul(step, u));
                isa.store(&mut sum[lanes], isa.mul(skip[k], u));
            }
        }
        isa.reduce_max(beyond) == 0.0
    }

    /// Brings dt + dt_bias to `delta` and u to `x`.
    #[inline(always)]
    fn gather<I: Isa>(&mut self, isa: I, times: Range<usize>, y: &mut StoredOut) {
        let width = VECTORS * I::LANES;
        let Scan { rows, e, u, dt, dt_bias, .. } = *self.op;
        let (columns, count) = (self.channels.clone(), self.channels.len());
        let bias = self.channels_of(isa, dt_bias);
        for (step, t) in times.enumerate() {
            let row = self.batch * rows.l + t;
            let out = y.segment(row * e + columns.start..row * e + columns.end);
            let (u, dt) = (u.segment(row, columns.clone(), out), dt.segment(row, columns.clone(), out));
            let (delta, x) = (&mut self.delta[step * width..][..width], &mut self.x[step * width..][..width]);
            for k in 0..VECTORS {
                let (from, to) = ((k * I::LANES).min(count), k * I::LANES);
                isa.store(&mut x[to..], u.load(isa, from));
                isa.store(&mut delta[to..], isa.add(dt.load(isa, from), bias[k]));
            }
        }
    }

    /// This tile's elements of a vector over the channels; zeros when there is none.
    #[inline(always)]
    fn channels_of<I: Isa>(&self, isa: I, from: Option<&[f32]>) -> [I::F32; VECTORS] {
        let Range { start, end } = self.channels;
        let mut vectors = [isa.zero(); VECTORS];
        if let Some(from) = from {
            for (k, vector) in vectors.iter_mut().enumerate() {
                *vector = isa.load_partial(&from[(start + k * I::LANES).min(end)..end]);
            }
        }
        vectors
    }

    /// Pass 2; `GENTLE` when [`Self::prepare`] says so.
    #[inline(always)]
    fn recur<I: Isa, const GENTLE: bool>(&mut self, isa: I, times: Range<usize>) {
        let width = VECTORS * I::LANES;
        let n = self.op.n;
        let [b, c] = shared_rows(isa, self.op, self.batch, self.group, times.clone(), self.bc);
        for step in 0..times.len() {
            let (b, c) = (b.row(step, n), c.row(step, n));
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
    fn finish<I: Isa>(&mut self, isa: I, times: Range<usize>, y: &mut StoredOut) {
        let width = VECTORS * I::LANES;
        let Scan { rows, e, z, .. } = *self.op;
        let (columns, count) = (self.channels.clone(), self.channels.len());
        let (first, used) = (self.batch * rows.l + times.start, times.len() * width);
        if let Some(z) = z {
            for (step, gate) in self.delta[..used].chunks_exact_mut(width).enumerate() {
                let z = z.row(first + step, columns.clone());
                for k in 0..VECTORS {
                    isa.store(&mut gate[k * I::LANES..], z.load(isa, (k * I::LANES).min(count)));
                }
            }
            for (gate, sum) in self.delta[..used].chunks_exact(I::LANES).zip(self.sum.chunks_exact_mut(I::LANES)) {
                isa.store(sum, isa.mul(isa.load(sum), vector::silu(isa, isa.load(gate))));
            }
        }
        for (step, sum) in self.sum[..used].chunks_exact(width).enumerate() {
            let row = (first + step) * e;
            for (i, sum) in (columns.start..columns.end).step_by(I::LANES).zip(sum.chunks_exact(I::LANES)) {
                y.store(isa, row + i..row + (i + I::LANES).min(columns.end), isa.load(sum));
            }
        }
    }
}

/// The rows of B and C that a group's channels share, of these steps: as they lie, or widened into `scratch`.
#[inline(always)]
pub(super) fn shared_rows<'a, I: Isa>(
    isa: I,
    op: &Scan<'a>,
    batch: usize,
    group: usize,
    times: Range<usize>,
    scratch: &'a mut [f32],
) -> [Mat<'a>; 2] {
    let Scan { rows, n, b, c, .. } = *op;
    let (first, columns) = (batch * rows.l + times.start, group * n..(group + 1) * n);
    let (scratch_b, scratch_c) = scratch.split_at_mut(times.len() * n);
    [(b, scratch_b), (c, scratch_c)].map(|(from, scratch)| {
        if let StoredInput::F32(Input::Apart(mat)) = from {
            return Mat { data: &mat.data[first * mat.ld + columns.start..], ld: mat.ld };
        }
        for (step, to) in scratch[..times.len() * n].chunks_exact_mut(n).enumerate() {
            from.row(first + step, columns.clone()).widen(isa, to);
        }
        Mat { data: scratch, ld: n }
    })
}

/// ln(1 + eˢ), given e^−|s|: the same operations as [`vector::softplus`].
#[inline(always)]
pub(super) fn softplus_with<I: Isa>(isa: I, s: I::F32, tail: I::F32) -> I::F32 {
    let positive = isa.select(isa.lt(isa.zero(), s), s, isa.zero());
    isa.add(positive, vector::log1p_unit(isa, tail))
}
