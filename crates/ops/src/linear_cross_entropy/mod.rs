//! `nll[b,t] = logsumexp(logits) − logits[targets[b,t]]` with `logits = x·Wᵀ`, without ever holding the logits of more than a block.
//!
//! In two passes. The first computes the logits by cells, a batch of rows × a block of the vocabulary, of which parts take a range, so that few rows
//! are shared as evenly as many; of a cell's logits it keeps on a *board* the largest of each row and the sum of the exponentials below it, and
//! the target's logit where `nll` is to be. The second, once all cells are done, adds up each row's sums (as in Milakov and Gimelshein, "Online
//! normalizer calculation for softmax", arXiv 1805.02867). A target outside the vocabulary gives NaN: the host checks targets before a run,
//! and a mistake there must be seen.

#[cfg(feature = "cuda")]
pub mod cuda;
mod online;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::ops::Range;

use statespace_plan::DType;
use statespace_plan::ops::Compute;
use statespace_simd::{Bf16, Bf16Pair, Element, F16, F32, F32AsBf16, F32Pair, Isa, Kernel, Level, SharedOut, tile};

use crate::linear::many::{self, Lines, Tiles};
use crate::linear::{few, pitch, product, round};
use crate::rows::{Input, Mat, Rows, split};
use crate::stored::Stored;

/// The most rows that pass one packing of the weight.
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
        let rounded = if compute == Compute::Bf16 { batch.saturating_mul(k) } else { 0 };
        rounded.saturating_add(many::PANEL_FLOATS + batch * BLOCK)
    }

    /// Floats of the board that all parts share, for up to `rows` valid rows.
    pub fn board_floats(rows: usize, vocab: usize) -> usize {
        rows.saturating_mul(2 * vocab.div_ceil(BLOCK))
    }

    /// The first pass: this part's cells, onto its part of the board and of `nll` (b, l).
    ///
    /// # Panics
    /// When `scratch` is shorter than [`Self::scratch_floats`], `board` than [`Self::board_floats`], or an operand than its shape.
    pub fn run(&self, level: Level, part: usize, parts: usize, board: SharedOut, nll: SharedOut, scratch: &mut [f32]) {
        level.run(Part { op: self, part, parts, board, nll, scratch });
    }

    /// The second pass, after all parts of the first, in as many parts as one likes: writes this part of `nll`; parts split the rows.
    pub fn finish(&self, part: usize, parts: usize, mut board: SharedOut, mut nll: SharedOut) {
        let wide = 2 * self.vocab.div_ceil(BLOCK);
        let share = split(self.rows.count(), part, parts);
        for (i, r) in share.clone().zip(self.rows.iter().skip(share.start)) {
            let is_known = usize::try_from(self.targets[r]).is_ok_and(|id| id < self.vocab);
            let nll = &mut nll.slice_mut(r..r + 1)[0];
            let target = if is_known { f64::from(*nll) } else { f64::NAN };
            *nll = (online::log_sum(board.slice_mut(i * wide..(i + 1) * wide)) - target) as f32;
        }
    }
}

struct Part<'a> {
    op: &'a LinearCrossEntropy<'a>,
    part: usize,
    parts: usize,
    board: SharedOut<'a>,
    nll: SharedOut<'a>,
    scratch: &'a mut [f32],
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

impl Part<'_> {
    #[inline(always)]
    fn with<I: Isa, E: Element>(mut self, isa: I, weight: &[u8]) {
        let weight = &weight[..self.op.vocab * pitch::<E>(self.op.k)];
        let count = self.op.rows.count();
        let (blocks, few) = (self.op.vocab.div_ceil(BLOCK), count <= few::ROWS);
        let batches = if few { 1 } else { count.div_ceil(BATCH) };
        let mut cells = split(batches * blocks, self.part, self.parts);
        while !cells.is_empty() {
            let batch = cells.start / blocks;
            let run = cells.start - batch * blocks..(cells.end - batch * blocks).min(blocks);
            cells.start = batch * blocks + run.end;
            if few {
                self.few::<I, E>(isa, weight, split(count, batch, batches), run);
            } else {
                self.many::<I, E>(isa, weight, split(count, batch, batches), run);
            }
        }
    }

    #[inline(always)]
    fn few<I: Isa, E: Element>(&mut self, isa: I, weight: &[u8], batch: Range<usize>, blocks: Range<usize>) {
        let LinearCrossEntropy { rows, k, vocab, .. } = *self.op;
        let mut flat = [0; few::ROWS];
        rows.iter().skip(batch.start).take(batch.len()).zip(&mut flat).for_each(|(r, at)| *at = r);
        let flat = &flat[..batch.len()];
        let (logits, rounded) = self.scratch.split_at_mut(batch.len() * BLOCK);
        let x = few::gather::<I, E>(isa, self.op.x, k, flat, self.op.compute, rounded);
        for start in blocks.map(|block| block * BLOCK) {
            let block = start..(start + BLOCK).min(vocab);
            few::products::<I, E>(isa, &x[..flat.len()], weight, pitch::<E>(k), block.clone(), |row, j, sums| {
                logits[row * BLOCK + j - start..][..sums.len()].copy_from_slice(sums);
            });
            enter(isa, self.op, logits, batch.clone(), block, (&mut self.board, &mut self.nll));
        }
    }

    #[inline(always)]
    fn many<I: Isa, E: Element>(&mut self, isa: I, weight: &[u8], batch: Range<usize>, blocks: Range<usize>) {
        let LinearCrossEntropy { rows, k, vocab, .. } = *self.op;
        let (width, rounds) = (tile::panel_width::<I>(), self.op.compute == Compute::Bf16);
        let (pitch, deep) = (pitch::<E>(k), k.div_ceil(E::COLUMNS));
        let depth = many::depth(deep);
        let (panel, rest) = self.scratch.split_at_mut(many::PANEL_FLOATS);
        let (logits, rounded) = rest.split_at_mut(batch.len() * BLOCK);
        let flat = || rows.iter().skip(batch.start).take(batch.len());
        if rounds {
            for (r, to) in flat().zip(rounded.chunks_mut(deep)) {
                round::<I, E>(isa, self.op.x.row(r, k), to);
            }
        }
        let tiles = batch.len().div_ceil(I::TILE_ROWS);
        for start in blocks.map(|block| block * BLOCK) {
            let block = start..(start + BLOCK).min(vocab);
            for first in block.clone().step_by(width) {
                let columns = first..(first + width).min(block.end);
                for from in (0..deep).step_by(depth) {
                    let panel = &mut panel[..(deep - from).min(depth) * width];
                    tile::pack::<I, E>(isa, &weight[columns.start * pitch..], pitch, columns.len(), from, panel);
                    let x = if rounds { Mat { data: rounded, ld: deep } } else { self.op.x };
                    let x = Mat { data: &x.data[from..], ld: x.ld };
                    isa.run(Tiles {
                        lines: Lines { rows, start: batch.start, count: batch.len(), x_is_dense: rounds, y_is_dense: true },
                        range: 0..tiles,
                        tiles,
                        x,
                        panel,
                        element: PhantomData::<E::Loaded>,
                        y: &mut SharedOut::new(logits),
                        pitch: BLOCK,
                        columns: columns.start - start..columns.end - start,
                        bias: None,
                        residual: (from > 0).then_some(Input::InPlace),
                    });
                }
            }
            enter(isa, self.op, logits, batch.clone(), block, (&mut self.board, &mut self.nll));
        }
    }
}

/// Keeps what is needed of the logits of a cell.
#[inline(always)]
fn enter<I: Isa>(
    isa: I,
    op: &LinearCrossEntropy,
    logits: &[f32],
    batch: Range<usize>,
    block: Range<usize>,
    (board, nll): (&mut SharedOut, &mut SharedOut),
) {
    let blocks = op.vocab.div_ceil(BLOCK);
    for ((logits, i), r) in logits.chunks(BLOCK).zip(batch.clone()).zip(op.rows.iter().skip(batch.start)) {
        let at = 2 * (i * blocks + block.start / BLOCK);
        board.slice_mut(at..at + 2).copy_from_slice(&online::block(isa, &logits[..block.len()]));
        if let Some(id) = usize::try_from(op.targets[r]).ok().filter(|id| block.contains(id)) {
            nll.slice_mut(r..r + 1)[0] = logits[id - block.start];
        }
    }
}
