//! `y = a + c`.

#[cfg(feature = "cuda")]
pub mod cuda;

use statespace_simd::{Isa, Kernel, Level, SharedOut};

use crate::rows::{Input, Part, Rows};

/// The definition, in f64; all (b, l, d).
pub fn reference(rows: Rows, d: usize, a: &[f64], c: &[f64], y: &mut [f64]) {
    for i in rows.iter().flat_map(|r| r * d..(r + 1) * d) {
        y[i] = a[i] + c[i];
    }
}

/// Operands.
#[derive(Clone, Copy, Debug)]
pub struct Add<'a> {
    /// Rows.
    pub rows: Rows<'a>,
    /// Width of a row.
    pub d: usize,
    /// (b, l, d).
    pub a: Input<'a>,
    /// (b, l, d).
    pub c: Input<'a>,
}

impl Add<'_> {
    /// Writes this part of `y` (b, l, d); parts split the rows.
    pub fn run(&self, level: Level, part: usize, parts: usize, y: SharedOut) {
        level.run(Part { op: self, part, parts, y });
    }
}

impl Kernel for Part<'_, Add<'_>> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let Add { rows, d, a, c } = *self.op;
        for r in rows.part(self.part, self.parts) {
            for (i, y) in self.y.slice_mut(r * d..(r + 1) * d).chunks_mut(I::LANES).enumerate() {
                let columns = i * I::LANES..i * I::LANES + y.len();
                let a = isa.load_partial(a.segment(r, columns.clone(), y));
                let c = isa.load_partial(c.segment(r, columns, y));
                isa.store_partial(y, isa.add(a, c));
            }
        }
    }
}
