//! `y[b,j,i] = x[b,i,j]`.

#[cfg(feature = "cuda")]
pub mod cuda;

use statespace_simd::SharedOut;

use crate::rows::split;

/// The definition, in f64: `x` (b, l, d), `y` (b, d, l).
pub fn reference(b: usize, l: usize, d: usize, x: &[f64], y: &mut [f64]) {
    for batch in 0..b {
        for i in 0..l {
            for j in 0..d {
                y[(batch * d + j) * l + i] = x[(batch * l + i) * d + j];
            }
        }
    }
}

/// Rows of `y` written together, so that each cache line of `x` that is read serves all of them.
const BLOCK: usize = 16;

/// Operands.
#[derive(Clone, Copy, Debug)]
pub struct Transpose<'a> {
    /// Matrices.
    pub b: usize,
    /// Rows of `x`.
    pub l: usize,
    /// Columns of `x`.
    pub d: usize,
    /// (b, l, d).
    pub x: &'a [f32],
}

impl Transpose<'_> {
    /// Writes this part of `y` (b, d, l); parts split blocks of its rows. Moves only, so no instruction set is asked for.
    pub fn run(&self, part: usize, parts: usize, mut y: SharedOut) {
        let Self { b, l, d, x } = *self;
        let blocks = d.div_ceil(BLOCK);
        for block in split(b * blocks, part, parts) {
            let (batch, j0) = (block / blocks, block % blocks * BLOCK);
            let width = BLOCK.min(d - j0);
            let y = y.slice_mut((batch * d + j0) * l..(batch * d + j0 + width) * l);
            for i in 0..l {
                for (j, value) in x[(batch * l + i) * d + j0..][..width].iter().enumerate() {
                    y[j * l + i] = *value;
                }
            }
        }
    }
}
