//! Many rows of x: the weight by packed panels, x by tiles.
//!
//! The outputs form a grid of panels (columns) × tiles (rows), numbered panel by panel; a part takes a range of the numbers, so that even
//! the narrowest weight is shared evenly. A panel covers up to [`DEPTH`] columns of k at a time; the sums in between rest in y.

use std::ops::Range;

use statespace_plan::ops::Compute;
use statespace_simd::{Element, Isa, Kernel, MAX_TILE_ROWS, SharedOut, tile};

use super::{Linear, Part, round};
use crate::rows::{Input, Mat, split};

/// The most columns of k that a panel covers: 16 KiB of a panel 16 wide, half of the nearest cache.
pub(crate) const DEPTH: usize = 256;

/// Floats of the largest panel.
pub(crate) const PANEL_FLOATS: usize = DEPTH * tile::MAX_PANEL;

/// Columns of each but the last panel along k: nearly equal, so that none is short, and whole vectors.
#[inline(always)]
pub(crate) fn depth(k: usize) -> usize {
    k.div_ceil(k.div_ceil(DEPTH).max(1)).next_multiple_of(16).clamp(16, DEPTH)
}

/// This part's outputs.
#[inline(always)]
pub(super) fn run<I: Isa, E: Element>(isa: I, part: Part, weight: &[u8]) {
    let Part { op, part, parts, mut y, scratch } = part;
    let Linear { rows, k, m, .. } = *op;
    let (panel, rounded) = scratch.split_at_mut(PANEL_FLOATS);
    let (width, count, rounds) = (tile::panel_width::<I>(), rows.count(), op.compute == Compute::Bf16);
    let tiles = count.div_ceil(I::TILE_ROWS);
    let grid = split(m.div_ceil(width) * tiles, part, parts);
    // Rounded, x is needed for all panels, so only one panel's depth of it is kept at once.
    let block = if rounds { depth(k) } else { k.max(1) };
    for block in (0..k.max(1)).step_by(block).map(|start| start..(start + block).min(k)) {
        if rounds {
            for (r, to) in rows.iter().zip(rounded.chunks_mut(block.len().max(1))) {
                round(isa, &op.x.row(r, k)[block.clone()], to);
            }
        }
        for p in grid.start / tiles..grid.end.div_ceil(tiles) {
            let columns = p * width..m.min((p + 1) * width);
            let range = grid.start.max(p * tiles) - p * tiles..grid.end.min((p + 1) * tiles) - p * tiles;
            let first = split(count, range.start.min(tiles - 1), tiles).start;
            for from in block.clone().step_by(depth(k)) {
                let panel = &mut panel[..(block.end - from).min(depth(k)) * width];
                tile::pack::<I, E>(isa, &weight[columns.start * k * E::BYTES..], k, columns.len(), from, panel);
                let x = if rounds { Mat { data: rounded, ld: block.len() } } else { Mat { data: &op.x.data[from..], ld: op.x.ld } };
                let add = if from == 0 { Add::Operands { bias: op.bias, residual: op.residual } } else { Add::Sum };
                let lines = rows.iter().enumerate().skip(first).map(|(i, r)| (if rounds { i } else { r }, r));
                let heights = range.clone().map(|tile| split(count, tile, tiles).len());
                isa.run(Tiles { lines, heights, x, panel, y: &mut y, pitch: m, columns: columns.clone(), add });
            }
        }
    }
}

/// What is added to the products of a panel.
#[derive(Clone, Copy)]
pub(crate) enum Add<'a> {
    /// What y holds: the products of the panels before.
    Sum,
    /// The operands of a whole sum, with the first panel.
    Operands { bias: Option<&'a [f32]>, residual: Option<Input<'a>> },
}

/// A packed panel times tiles of rows.
pub(crate) struct Tiles<'a, 'y, L, H> {
    /// For each row, its number in x and in y.
    pub lines: L,
    /// Rows of each tile.
    pub heights: H,
    /// As deep as the panel.
    pub x: Mat<'a>,
    pub panel: &'a [f32],
    pub y: &'a mut SharedOut<'y>,
    /// Elements between the starts of two rows of y.
    pub pitch: usize,
    /// Those of y, bias and residual that the panel computes.
    pub columns: Range<usize>,
    pub add: Add<'a>,
}

impl<L: Iterator<Item = (usize, usize)>, H: Iterator<Item = usize>> Kernel for Tiles<'_, '_, L, H> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let mut numbers = [(0, 0); MAX_TILE_ROWS];
        while let Some(height) = self.heights.next() {
            for number in &mut numbers[..height] {
                *number = self.lines.next().unwrap_or_default();
            }
            macro_rules! by_height {
                ($($height:literal)*) => {
                    match height {
                        $($height if $height <= I::TILE_ROWS => self.tile::<I, $height>(isa, &numbers),)*
                        _ => {}
                    }
                };
            }
            by_height!(1 2 3 4 5 6 7 8 9 10 11 12);
        }
    }
}

impl<L, H> Tiles<'_, '_, L, H> {
    #[inline(always)]
    fn tile<I: Isa, const R: usize>(&mut self, isa: I, numbers: &[(usize, usize); MAX_TILE_ROWS]) {
        let deep = self.panel.len() / tile::panel_width::<I>();
        let x = core::array::from_fn(|r| &self.x.data[numbers[r].0 * self.x.ld..][..deep]);
        let sums: [[I::F32; tile::PANEL_VECTORS]; R] = tile::tile(isa, x, self.panel);
        for (r, sums) in sums.into_iter().enumerate() {
            let row = numbers[r].1;
            let y = self.y.slice_mut(row * self.pitch + self.columns.start..row * self.pitch + self.columns.end);
            for ((v, y), mut sum) in y.chunks_mut(I::LANES).enumerate().zip(sums) {
                let columns = self.columns.start + v * I::LANES..self.columns.start + v * I::LANES + y.len();
                match self.add {
                    Add::Sum => sum = isa.add(sum, isa.load_partial(y)),
                    Add::Operands { bias, residual } => {
                        if let Some(bias) = bias {
                            sum = isa.add(sum, isa.load_partial(&bias[columns.clone()]));
                        }
                        if let Some(residual) = residual {
                            sum = isa.add(sum, isa.load_partial(residual.segment(row, columns, y)));
                        }
                    }
                }
                isa.store_partial(y, sum);
            }
        }
    }
}
