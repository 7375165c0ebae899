//! Few rows of x: every row of the weight is read once, from where it lies.

use std::ops::Range;

use statespace_plan::ops::Compute;
use statespace_simd::{Element, Isa, tile};

use super::{Part, pitch, round};
use crate::rows::{Input, Mat, split};

/// Up to this many valid rows the weight is not packed: as measured with weights that come from memory, where packing waits for them.
pub(crate) const ROWS: usize = 24;

/// Rows of the weight that stay in the cache while all rows of x pass; a multiple of every count in [`products`].
const BLOCK: usize = 24;

/// This part's outputs: a range of the rows of the weight, for all rows of x.
#[inline(always)]
pub(super) fn run<I: Isa, E: Element>(isa: I, part: Part, weight: &[u8]) {
    let Part { op, part, parts, mut y, scratch } = part;
    let (k, m) = (op.k, op.m);
    let mut flat = [0; ROWS];
    let count = op.rows.iter().zip(&mut flat).map(|(r, at)| *at = r).count();
    let x = gather::<I, E>(isa, op.x, k, &flat[..count], op.compute, scratch);
    products::<I, E>(isa, &x[..count], weight, pitch::<E>(k), split(m, part, parts), |row, j, sums| {
        let start = flat[row] * m + j;
        let y = y.slice_mut(start..start + sums.len());
        for (n, sum) in sums.iter().enumerate() {
            let residual = match op.residual {
                None => 0.0,
                Some(Input::InPlace) => y[n],
                Some(Input::Apart(residual)) => residual.data[flat[row] * residual.ld + j + n],
            };
            y[n] = sum + op.bias.map_or(0.0, |bias| bias[j + n]) + residual;
        }
    });
}

/// Rows `flat` of x, rounded into scratch when `compute` says so, as pairs when E is one.
#[inline(always)]
pub(crate) fn gather<'a, I: Isa, E: Element>(
    isa: I,
    x: Mat<'a>,
    k: usize,
    flat: &[usize],
    compute: Compute,
    scratch: &'a mut [f32],
) -> [&'a [f32]; ROWS] {
    let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
    let mut rest = scratch;
    for (&r, row) in flat.iter().zip(&mut rows) {
        *row = x.row(r, k);
        if compute == Compute::Bf16 {
            let (rounded, after) = rest.split_at_mut(k.div_ceil(E::COLUMNS));
            round::<I, E>(isa, row, rounded);
            (*row, rest) = (rounded, after);
        }
    }
    rows
}

/// Calls `write(row, j, sums)` with the products of each row of x and rows `j..` of the weight, each `pitch` bytes, over all of `columns`.
#[inline(always)]
pub(crate) fn products<I: Isa, E: Element>(
    isa: I,
    x: &[&[f32]],
    weight: &[u8],
    pitch: usize,
    columns: Range<usize>,
    mut write: impl FnMut(usize, usize, &[f32]),
) {
    for start in columns.clone().step_by(BLOCK) {
        let block = start..(start + BLOCK).min(columns.end);
        for (i, x) in x.chunks(4).enumerate() {
            let write = &mut |row: usize, j: usize, sums: &[f32]| write(4 * i + row, j, sums);
            // Eight sums and more hide the latency of a multiply-add; beyond, sums and x would not fit 16 registers. On WebAssembly, where engines
            // put all loads of a loop before its arithmetic, neither would more rows of the weight.
            const WASM: bool = cfg!(target_family = "wasm");
            match *x {
                [a, b, c, d] => strip::<I, E, 4, 2>(isa, [a, b, c, d], (weight, pitch), block.clone(), write),
                [a, b, c] if WASM => strip::<I, E, 3, 2>(isa, [a, b, c], (weight, pitch), block.clone(), write),
                [a, b, c] => strip::<I, E, 3, 4>(isa, [a, b, c], (weight, pitch), block.clone(), write),
                [a, b] => strip::<I, E, 2, 4>(isa, [a, b], (weight, pitch), block.clone(), write),
                [a] if WASM => strip::<I, E, 1, 4>(isa, [a], (weight, pitch), block.clone(), write),
                [a] => strip::<I, E, 1, 8>(isa, [a], (weight, pitch), block.clone(), write),
                _ => {}
            }
        }
    }
}

/// [`products`] of `R` rows of x, by `J` rows of the weight and then, for what is left, one by one.
#[inline(always)]
fn strip<I: Isa, E: Element, const R: usize, const J: usize>(
    isa: I,
    x: [&[f32]; R],
    weight: (&[u8], usize),
    columns: Range<usize>,
    write: &mut impl FnMut(usize, usize, &[f32]),
) {
    let (weight, pitch) = weight;
    let row = |j: usize| &weight[j * pitch..][..pitch];
    let mut j = columns.start;
    while j + J <= columns.end {
        let next = &weight[(j + J) * pitch..];
        let sums = tile::dots::<I, E, R, J>(isa, x, core::array::from_fn(|n| row(j + n)), next);
        sums.iter().enumerate().for_each(|(r, sums)| write(r, j, sums));
        j += J;
    }
    while j < columns.end {
        let sums = tile::dots::<I, E, R, 1>(isa, x, [row(j)], &[]);
        sums.iter().enumerate().for_each(|(r, sums)| write(r, j, sums));
        j += 1;
    }
}
