//! `nll[b,t] = logsumexp(logits) − logits[targets[b,t]]` with `logits = x·Wᵀ`, without ever holding the logits of more than a block.
//!
//! The vocabulary passes in blocks; a row keeps the largest logit so far, the sum of the exponentials below it, and its target's logit as that
//! passes (Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv 1805.02867). A target outside the vocabulary gives NaN: the
//! host checks targets before a run, and a mistake there must be seen.

mod online;
#[cfg(test)]
mod tests;

use std::ops::Range;

use statespace_plan::DType;
use statespace_plan::ops::Compute;
use statespace_simd::{Bf16, Element, F16, F32, F32AsBf16, Isa, Kernel, Level, SharedOut, tile};

use crate::linear::many::{self, Lines, Tiles};
use crate::linear::{few, product, round};
use crate::rows::{Input, Mat, Rows, split};
use crate::stored::Stored;
use online::Online;

/// Rows that pass one packing of the weight.
const BATCH: usize = 192;

/// Columns of a block of logits.
const BLOCK: usize = 128;

/// Operands of [`reference()`]; see [`LinearCrossEntropy`] for what each is.
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    /// Rows.
    pub rows: Rows<'a>,
    /// Columns of x and of the weight.
    pub k: usize,
    /// Rows of the weight that are the vocabulary.
    pub vocab: usize,
    /// Whether factors are rounded.
    pub compute: Compute,
    /// (b, l, k).
    pub x: Mat<'a, f64>,
    /// (m, k), widened.
    pub weight: &'a [f64],
    /// How the weight is stored: `compute` bf16 rounds an f32 one.
    pub dtype: DType,
    /// (b, l).
    pub targets: &'a [i32],
}

/// The definition, in f64; `nll` (b, l).
pub fn reference(op: &Reference, nll: &mut [f64]) {
    for r in op.rows.iter() {
        let weight = op.weight.chunks_exact(op.k).take(op.vocab);
        let logits: Vec<f64> = weight.map(|row| product(op.compute, op.dtype, op.x.row(r, op.k), row)).collect();
        let max = logits.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let sum: f64 = logits.iter().map(|logit| (logit - max).exp()).sum();
        let target = usize::try_from(op.targets[r]).ok().and_then(|id| logits.get(id));
        nll[r] = sum.ln() + max - target.unwrap_or(&f64::NAN);
    }
}

/// Operands.
#[derive(Clone, Copy, Debug)]
pub struct LinearCrossEntropy<'a> {
    /// Rows.
    pub rows: Rows<'a>,
    /// Columns of x and of the weight.
    pub k: usize,
    /// Rows of the weight that are the vocabulary, from the first: the attribute `vocab`, or m where that is 0.
    pub vocab: usize,
    /// Whether factors are rounded to bf16.
    pub compute: Compute,
    /// (b, l, k).
    pub x: Mat<'a>,
    /// (m, k).
    pub weight: Stored<'a>,
    /// (b, l); ids in `0..vocab`.
    pub targets: &'a [i32],
}

impl LinearCrossEntropy<'_> {
    /// Floats of scratch that each part of a run needs, for up to `rows` valid rows of `k` columns.
    pub fn scratch_floats(rows: usize, k: usize, compute: Compute) -> usize {
        let batch = rows.min(BATCH);
        let rounded = if compute == Compute::Bf16 { batch * k } else { 0 };
        many::PANEL_FLOATS + batch * BLOCK + rounded
    }

    /// Writes this part of `nll` (b, l); parts split the rows.
    ///
    /// # Panics
    /// When `scratch` is shorter than [`Self::scratch_floats`], or an operand than its shape.
    pub fn run(&self, level: Level, part: usize, parts: usize, nll: SharedOut, scratch: &mut [f32]) {
        level.run(Part { op: self, part, parts, nll, scratch });
    }
}

struct Part<'a> {
    op: &'a LinearCrossEntropy<'a>,
    part: usize,
    parts: usize,
    nll: SharedOut<'a>,
    scratch: &'a mut [f32],
}

impl Kernel for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        match (self.op.weight, self.op.compute) {
            (Stored::F32(weight), Compute::F32) => self.with::<I, F32>(isa, weight),
            (Stored::F32(weight), Compute::Bf16) => self.with::<I, F32AsBf16>(isa, weight),
            (Stored::Bf16(weight), _) => self.with::<I, Bf16>(isa, weight),
            (Stored::F16(weight), _) => self.with::<I, F16>(isa, weight),
        }
    }
}

impl Part<'_> {
    #[inline(always)]
    fn with<I: Isa, E: Element>(mut self, isa: I, weight: &[u8]) {
        let weight = &weight[..self.op.vocab * self.op.k * E::BYTES];
        // All rows decide, not those of this part, so that the bits do not depend on the number of parts.
        let count = self.op.rows.count();
        let (batch, few) = if count <= few::ROWS { (few::ROWS, true) } else { (BATCH, false) };
        let share = split(count, self.part, self.parts);
        for start in share.clone().step_by(batch) {
            let batch = start..(start + batch).min(share.end);
            let mut online = [Online::START; BATCH];
            if few {
                self.few::<I, E>(isa, weight, batch.clone(), &mut online);
            } else {
                self.many::<I, E>(isa, weight, batch.clone(), &mut online);
            }
            let rows = self.op.rows.iter().skip(start).take(batch.len());
            rows.zip(&online).for_each(|(r, online)| self.nll.slice_mut(r..r + 1)[0] = online.nll());
        }
    }

    #[inline(always)]
    fn few<I: Isa, E: Element>(&mut self, isa: I, weight: &[u8], batch: Range<usize>, online: &mut [Online; BATCH]) {
        let LinearCrossEntropy { rows, k, vocab, targets, .. } = *self.op;
        let mut flat = [0; few::ROWS];
        rows.iter().skip(batch.start).take(batch.len()).zip(&mut flat).for_each(|(r, at)| *at = r);
        let flat = &flat[..batch.len()];
        let (logits, rounded) = self.scratch.split_at_mut(batch.len() * BLOCK);
        let x = few::gather(isa, self.op.x, k, flat, self.op.compute, rounded);
        for start in (0..vocab).step_by(BLOCK) {
            let block = start..(start + BLOCK).min(vocab);
            few::products::<I, E>(isa, &x[..flat.len()], weight, block.clone(), |row, j, sums| {
                logits[row * BLOCK + j - start..][..sums.len()].copy_from_slice(sums);
            });
            for ((logits, online), &r) in logits.chunks(BLOCK).zip(&mut online[..]).zip(flat) {
                online.add(isa, &logits[..block.len()], start, targets[r]);
            }
        }
    }

    #[inline(always)]
    fn many<I: Isa, E: Element>(&mut self, isa: I, weight: &[u8], batch: Range<usize>, online: &mut [Online; BATCH]) {
        let LinearCrossEntropy { rows, k, vocab, targets, .. } = *self.op;
        let (width, depth, rounds) = (tile::panel_width::<I>(), many::depth(k), self.op.compute == Compute::Bf16);
        let (panel, rest) = self.scratch.split_at_mut(many::PANEL_FLOATS);
        let (logits, rounded) = rest.split_at_mut(batch.len() * BLOCK);
        let flat = || rows.iter().skip(batch.start).take(batch.len());
        if rounds {
            for (r, to) in flat().zip(rounded.chunks_mut(k)) {
                round(isa, self.op.x.row(r, k), to);
            }
        }
        let tiles = batch.len().div_ceil(I::TILE_ROWS);
        for start in (0..vocab).step_by(BLOCK) {
            let block = start..(start + BLOCK).min(vocab);
            for first in block.clone().step_by(width) {
                let columns = first..(first + width).min(block.end);
                for from in (0..k).step_by(depth) {
                    let panel = &mut panel[..(k - from).min(depth) * width];
                    tile::pack::<I, E>(isa, &weight[columns.start * k * E::BYTES..], k, columns.len(), from, panel);
                    let x = if rounds { Mat { data: rounded, ld: k } } else { self.op.x };
                    let x = Mat { data: &x.data[from..], ld: x.ld };
                    isa.run(Tiles {
                        lines: Lines { rows, start: batch.start, count: batch.len(), x_is_dense: rounds, y_is_dense: true },
                        range: 0..tiles,
                        tiles,
                        x,
                        panel,
                        y: &mut SharedOut::new(logits),
                        pitch: BLOCK,
                        columns: columns.start - start..columns.end - start,
                        bias: None,
                        residual: (from > 0).then_some(Input::InPlace),
                    });
                }
            }
            for ((logits, online), r) in logits.chunks(BLOCK).zip(&mut online[..]).zip(flat()) {
                online.add(isa, &logits[..block.len()], start, targets[r]);
            }
        }
    }
}
