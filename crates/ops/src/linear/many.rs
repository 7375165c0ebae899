//! Many rows of x: the weight by packed panels, x by tiles.
//!
//! The outputs form a grid of panels (columns) × tiles (rows), numbered panel by panel; a part takes a range of the numbers, so that even
//! the narrowest weight is shared evenly. A panel covers up to [`DEPTH`] elements of k at a time (columns, or pairs of them); the sums in between
//! rest in y.

use std::marker::PhantomData;
use std::ops::Range;

use statespace_plan::ops::Compute;
use statespace_simd::{Element, Isa, Kernel, MAX_TILE_ROWS, SharedOut, tile};

use super::{Linear, Part, pitch, round};
use crate::rows::{Input, Mat, Rows, split};

/// The most elements of k that a panel covers: 24 KiB of a panel 16 wide, three quarters of the nearest cache.
pub(crate) const DEPTH: usize = 384;

/// Floats of the largest panel.
pub(crate) const PANEL_FLOATS: usize = DEPTH * tile::MAX_PANEL;

/// Elements of each but the last panel along the `k` of them: nearly equal, so that none is short, and whole vectors.
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
    let (pitch, deep) = (pitch::<E>(k), k.div_ceil(E::COLUMNS));
    // Rounded, x is needed for all panels, so only one panel's depth of it is kept at once.
    let block = if rounds { depth(deep) } else { deep.max(1) };
    for block in (0..deep.max(1)).step_by(block).map(|start| start..(start + block).min(deep)) {
        if rounds {
            for (r, to) in rows.iter().zip(rounded.chunks_mut(block.len().max(1))) {
                round::<I, E>(isa, &op.x.row(r, k)[block.start * E::COLUMNS..k.min(block.end * E::COLUMNS)], to);
            }
        }
        for p in grid.start / tiles..grid.end.div_ceil(tiles) {
            let columns = p * width..m.min((p + 1) * width);
            let range = grid.start.max(p * tiles) - p * tiles..grid.end.min((p + 1) * tiles) - p * tiles;
            for from in block.clone().step_by(depth(deep)) {
                let panel = &mut panel[..(block.end - from).min(depth(deep)) * width];
                tile::pack::<I, E>(isa, &weight[columns.start * pitch..], pitch, columns.len(), from, panel);
                let x = if rounds { Mat { data: rounded, ld: block.len() } } else { Mat { data: &op.x.data[from..], ld: op.x.ld } };
                let lines = Lines { rows, start: 0, count, x_is_dense: rounds, y_is_dense: false };
                let (bias, residual) = if from == 0 { (op.bias, op.residual) } else { (None, Some(Input::InPlace)) };
                let (range, columns) = (range.clone(), columns.clone());
                let element = PhantomData::<E::Loaded>;
                isa.run(Tiles { lines, range, tiles, x, panel, element, y: &mut y, pitch: m, columns, bias, residual });
            }
        }
    }
}

/// A packed panel times tiles of rows.
pub(crate) struct Tiles<'a, 'y, E> {
    pub lines: Lines<'a>,
    /// The tiles to compute, of `tiles` equal ones that the lines are cut into.
    pub range: Range<usize>,
    pub tiles: usize,
    /// As deep as the panel.
    pub x: Mat<'a>,
    pub panel: &'a [f32],
    /// What x and the panel hold.
    pub element: PhantomData<E>,
    pub y: &'a mut SharedOut<'y>,
    /// Elements between the starts of two rows of y.
    pub pitch: usize,
    /// Those of y, bias and residual that the panel computes.
    pub columns: Range<usize>,
    pub bias: Option<&'a [f32]>,
    /// Added to the products; the sums of the panels before are in y.
    pub residual: Option<Input<'a>>,
}

/// Consecutive valid rows, from the `start`-th on.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a> {
    pub rows: Rows<'a>,
    pub start: usize,
    pub count: usize,
    /// x holds these rows alone, one after the other; else all (b, l).
    pub x_is_dense: bool,
    /// The same of y.
    pub y_is_dense: bool,
}

impl Lines<'_> {
    /// The places of each row in x and in y, from the `skip`-th on.
    fn places(self, skip: usize) -> impl Iterator<Item = (usize, usize)> {
        let rows = self.rows;
        let flat = (0..rows.b).flat_map(move |b| (b * rows.l)..(b * rows.l + rows.valid(b)));
        let place = move |(i, r)| (if self.x_is_dense { i } else { r }, if self.y_is_dense { i } else { r });
        flat.skip(self.start).enumerate().skip(skip).map(place)
    }
}

impl<E: Element> Kernel for Tiles<'_, '_, E> {
    const PAIRS: bool = E::COLUMNS == 2;
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let mut places = self.lines.places(split(self.lines.count, self.range.start, self.tiles).start);
        let mut tile = [(0, 0); MAX_TILE_ROWS];
        for number in self.range.clone() {
            let height = split(self.lines.count, number, self.tiles).len();
            tile[..height].iter_mut().zip(&mut places).for_each(|(at, place)| *at = place);
            macro_rules! by_height {
                ($($height:literal)*) => {
                    match height {
                        $($height if $height <= I::TILE_ROWS => self.tile::<I, $height>(isa, &tile),)*
                        _ => {}
                    }
                };
            }
            by_height!(1 2 3 4 5 6 7 8 9 10 11 12);
        }
    }
}

impl<E: Element> Tiles<'_, '_, E> {
    #[inline(always)]
    fn tile<I: Isa, const R: usize>(&mut self, isa: I, places: &[(usize, usize); MAX_TILE_ROWS]) {
        let deep = self.panel.len() / tile::panel_width::<I>();
        let x = core::array::from_fn(|r| &self.x.data[places[r].0 * self.x.ld..][..deep]);
        let sums = tile::tile::<I, E, R>(isa, x, self.panel);
        if self.columns.len() == tile::panel_width::<I>() {
            self.write::<I, R, true>(isa, sums, places);
        } else {
            self.write::<I, R, false>(isa, sums, places);
        }
    }

    /// Adds bias and residual to a tile's sums and stores them; `WHOLE` when the panel's columns are a full panel.
    #[inline(always)]
    fn write<I: Isa, const R: usize, const WHOLE: bool>(
        &mut self,
        isa: I,
        mut sums: [[I::F32; tile::PANEL_VECTORS]; R],
        places: &[(usize, usize); MAX_TILE_ROWS],
    ) {
        let start = self.columns.start;
        let width = if WHOLE { tile::panel_width::<I>() } else { self.columns.len() };
        let vector = |v: usize| (v * I::LANES).min(width)..((v + 1) * I::LANES).min(width);
        if let Some(bias) = self.bias {
            let bias = &bias[start..start + width];
            for v in 0..tile::PANEL_VECTORS {
                let bias = isa.load_partial(&bias[vector(v)]);
                for sums in &mut sums {
                    sums[v] = isa.add(sums[v], bias);
                }
            }
        }
        for r in 0..R {
            let row = places[r].1;
            let y = self.y.slice_mut(row * self.pitch + start..row * self.pitch + start + width);
            if let Some(residual) = self.residual {
                let residual = residual.segment(row, start..start + width, y);
                for v in 0..tile::PANEL_VECTORS {
                    sums[r][v] = isa.add(sums[r][v], isa.load_partial(&residual[vector(v)]));
                }
            }
            for v in 0..tile::PANEL_VECTORS {
                isa.store_partial(&mut y[vector(v)], sums[r][v]);
            }
        }
    }
}
