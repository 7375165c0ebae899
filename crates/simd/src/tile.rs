//! The inner loops of y = x·Wᵀ for a weight W that is stored row by row, output by output.
//!
//! - [`dots`]: few rows of x. Rows of W are read once, straight from where they lie, lanes along the sum: bound by memory.
//! - [`pack`] and [`tile`]: many rows. A *panel*, `2·LANES` rows of W by some columns, is widened and transposed into scratch, so that lanes go
//!   along the outputs; a tile multiplies it with up to [`Isa::TILE_ROWS`] rows of x, each element broadcast: bound by arithmetic.
//!
//! Columns of pairs ([`Element::COLUMNS`] = 2) pass two by two: x and panels then hold a pair of bf16 in the place of each f32.
//! Either way an output's additions are in one fixed order, whatever tile it falls in.
//!
//! On WebAssembly, where all code has the same features, the larger loops are functions of their own, so that ops share them: size counts there.

use crate::{Element, Isa, MAX_LANES};

/// Vectors of a panel's width.
pub const PANEL_VECTORS: usize = 2;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Outputs of the widest panel.
pub const MAX_PANEL: usize = PANEL_VECTORS * MAX_LANES;

/// Outputs of a panel.
#[inline(always)]
pub const fn panel_width<I: Isa>() -> usize {
    PANEL_VECTORS * I::LANES
}

/// The products of `R` rows of x with `J` rows of a weight: element (r, j) is `Σᵢ x[r][i]·weight[j][i]`. The last pair of a weight's row may be half.
///
/// Lane n sums the products of elements n mod LANES in ascending order; then the lanes are added as [`Isa::reduce_add`] does. Meanwhile `next`, the
/// bytes that a next call will read, is brought into the cache: short rows, several at once, are not a pattern that hardware foresees.
///
/// # Panics
/// When the rows differ in length.
#[cfg_attr(not(target_family = "wasm"), inline(always))]
#[cfg_attr(target_family = "wasm", inline(never))]
pub fn dots<I: Isa, E: Element, const R: usize, const J: usize>(isa: I, x: [&[f32]; R], weight: [&[u8]; J], next: &[u8]) -> [[f32; J]; R] {
    let k = x[0].len();
    assert!(x.iter().all(|row| row.len() == k) && weight.iter().all(|row| row.len() == weight[0].len()));
    assert!(J > 0 && weight[0].len().div_ceil(E::BYTES) == k);
    let mut sums = [[isa.zero(); J]; R];
    let whole = weight[0].len() / E::BYTES / I::LANES * I::LANES;
    let mut start = 0;
    // A single row leaves registers for two vectors at a time.
    if cfg!(target_family = "wasm") && R == 1 {
        while start + 2 * I::LANES <= whole {
            // SAFETY: every row has at least `whole` whole elements, and start + 2·LANES is at most that.
            unsafe {
                // There is no prefetch, but a load whose result nobody waits for.
                if let Some(byte) = next.get(start * J * E::BYTES) {
                    core::ptr::read_volatile(byte);
                }
                let x = [isa.load_ptr(x[0].as_ptr().add(start)), isa.load_ptr(x[0].as_ptr().add(start + I::LANES))];
                for j in 0..J {
                    let w = E::load_two_ptr(isa, weight[j].as_ptr().add(start * E::BYTES));
                    sums[0][j] = E::fma(isa, x[1], w[1], E::fma(isa, x[0], w[0], sums[0][j]));
                }
            }
            start += 2 * I::LANES;
        }
    }
    for i in (start..whole).step_by(I::LANES) {
        // SAFETY: every row has at least `whole` whole elements, and i + LANES is at most that.
        unsafe {
            for line in (0..J * I::LANES * E::BYTES).step_by(LINE) {
                isa.prefetch(next.as_ptr().wrapping_add(i * J * E::BYTES + line));
            }
            let mut rows = [isa.zero(); R];
            for r in 0..R {
                rows[r] = isa.load_ptr(x[r].as_ptr().add(i));
            }
            for j in 0..J {
                let w = E::load_ptr(isa, weight[j].as_ptr().add(i * E::BYTES));
                for r in 0..R {
                    sums[r][j] = E::fma(isa, rows[r], w, sums[r][j]);
                }
            }
        }
    }
    if whole < k {
        for j in 0..J {
            let w = E::load(isa, &weight[j][whole * E::BYTES..]);
            for r in 0..R {
                sums[r][j] = E::fma(isa, isa.load_partial(&x[r][whole..]), w, sums[r][j]);
            }
        }
    }
    let mut products = [[0.0; J]; R];
    for r in 0..R {
        for j in 0..J {
            products[r][j] = isa.reduce_add(sums[r][j]);
        }
    }
    products
}

/// Packs elements `from..from + panel.len() / width` of up to `width` = [`panel_width`] rows of a weight.
///
/// `weight` begins with the first row, `pitch` is the number of bytes of each, `rows` how many there are; further ones are taken as zero.
/// Element (i, j) of the panel, at `i · width + j`, is element `from + i` of row j, as [`Element::Loaded`].
///
/// # Panics
/// When the panel is not a whole number of lines or reaches past the weight.
#[cfg_attr(not(target_family = "wasm"), inline(always))]
#[cfg_attr(target_family = "wasm", inline(never))]
pub fn pack<I: Isa, E: Element>(isa: I, weight: &[u8], pitch: usize, rows: usize, from: usize, panel: &mut [f32]) {
    let width = panel_width::<I>();
    let columns = panel.len() / width;
    assert!(panel.len() == columns * width && rows <= width && from + columns <= pitch.div_ceil(E::BYTES) && weight.len() >= rows * pitch);
    // A last pair that is half is left to the loop by elements.
    let whole = columns.min((pitch / E::BYTES).saturating_sub(from)) / I::LANES * I::LANES;
    for block in (0..width).step_by(I::LANES) {
        let full = block + I::LANES <= rows;
        let transposed = if full { whole } else { 0 };
        for i in (0..transposed).step_by(I::LANES) {
            // SAFETY: rows block..block + LANES are rows of the weight, columns from + i.. + LANES are whole elements of them, and the panel has rows
            // i..i + LANES of `width` elements, of which block..block + LANES are written.
            unsafe {
                let source = weight.as_ptr().add(block * pitch + (from + i) * E::BYTES);
                isa.transpose_ptr::<E>(source, pitch, panel.as_mut_ptr().add(i * width + block), width);
            }
        }
        for j in block..block + I::LANES {
            for i in transposed..columns {
                panel[i * width + j] = if j < rows { E::widen(&weight[j * pitch..][..pitch][(from + i) * E::BYTES..]) } else { 0.0 };
            }
        }
    }
}

/// The products of `R` rows of x, as long as the panel, with a packed panel of E: vector (r, v) holds outputs `v·LANES..` of row r.
///
/// # Panics
/// When a row is not as long as the panel.
#[inline(always)]
pub fn tile<I: Isa, E: Element, const R: usize>(isa: I, x: [&[f32]; R], panel: &[f32]) -> [[I::F32; PANEL_VECTORS]; R] {
    let width = panel_width::<I>();
    let columns = panel.len() / width;
    assert!(x.iter().all(|row| row.len() == columns));
    let mut sums = [[isa.zero(); PANEL_VECTORS]; R];
    for i in 0..columns {
        // SAFETY: i is below the length of each row, and the panel has a row i of PANEL_VECTORS vectors.
        unsafe {
            let at = panel.as_ptr().add(i * width);
            let mut w = [isa.zero(); PANEL_VECTORS];
            for (v, w) in w.iter_mut().enumerate() {
                *w = isa.load_ptr(at.add(v * I::LANES));
            }
            for r in 0..R {
                let x = isa.splat(*x[r].as_ptr().add(i));
                for v in 0..PANEL_VECTORS {
                    sums[r][v] = E::fma(isa, x, w[v], sums[r][v]);
                }
            }
        }
    }
    sums
}
