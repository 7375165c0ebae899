//! The rows an op works on, matrices with a pitch, and how work is cut into parts.

use std::ops::Range;

use statespace_simd::SharedOut;

/// The (b, l) rows of a sequence op and how many of them are valid.
///
/// Row `(b, t)` has the flat index `b * l + t`. It is valid when `t < lens[b]`; kernels neither read nor write
/// activations of other rows. Without `lens` all rows are valid.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Batch rows.
    pub b: usize,
    /// Positions of a batch row.
    pub l: usize,
    /// Valid positions of each batch row; taken as 0 when negative, as `l` when larger.
    pub lens: Option<&'a [i32]>,
}

impl Rows<'_> {
    /// All `b * l` rows valid.
    pub const fn dense(b: usize, l: usize) -> Rows<'static> {
        Rows { b, l, lens: None }
    }

    /// Valid positions of batch row `b`.
    #[inline]
    pub fn valid(&self, b: usize) -> usize {
        match self.lens {
            None => self.l,
            Some(lens) => usize::try_from(lens[b]).unwrap_or(0).min(self.l),
        }
    }

    /// Number of valid rows.
    pub fn count(&self) -> usize {
        (0..self.b).map(|b| self.valid(b)).sum()
    }

    /// Flat indices of the valid rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        (0..self.b).flat_map(move |b| (0..self.valid(b)).map(move |t| b * self.l + t))
    }

    /// The share of the valid rows that `part` of `parts` works on: flat indices, ascending.
    pub fn part(&self, part: usize, parts: usize) -> impl Iterator<Item = usize> {
        let share = split(self.count(), part, parts);
        self.iter().skip(share.start).take(share.len())
    }
}

/// The `part`-th of `parts` nearly equal, contiguous ranges of `0..count`.
#[inline]
pub fn split(count: usize, part: usize, parts: usize) -> Range<usize> {
    debug_assert!(part < parts, "part {part} of {parts}");
    // Wide, since the product may be more than an address.
    let at = |part: usize| (part as u64 * count as u64 / parts as u64) as usize;
    at(part)..at(part + 1)
}

/// One part of an op with one output: what its kernel is given.
pub(crate) struct Part<'a, T, Y = SharedOut<'a>> {
    pub(crate) op: &'a T,
    pub(crate) part: usize,
    pub(crate) parts: usize,
    pub(crate) y: Y,
}

/// A read-only matrix whose row `r` starts at `data[r * ld]`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a, T = f32> {
    /// From the first element of row 0 to at least the last of the last row.
    pub data: &'a [T],
    /// Elements between the starts of two rows.
    pub ld: usize,
}

impl<'a, T> Mat<'a, T> {
    /// The first `width` elements of row `r`.
    #[inline]
    pub fn row(&self, r: usize, width: usize) -> &'a [T] {
        &self.data[r * self.ld..][..width]
    }
}

/// An input that may share the output's memory, where the table allows the pair `inplace`.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a, T = f32> {
    /// In memory of its own.
    Apart(Mat<'a, T>),
    /// In the output, dense: the kernel reads each element there before it writes it.
    InPlace,
}

impl<'a, T> Input<'a, T> {
    /// Elements `columns` of row `r`: of the input's own memory, or of `out`, which is that segment of the output.
    #[inline(always)]
    pub(crate) fn segment<'s>(&self, r: usize, columns: Range<usize>, out: &'s [T]) -> &'s [T]
    where
        'a: 's,
    {
        match self {
            Self::Apart(mat) => &mat.data[r * mat.ld..][columns],
            Self::InPlace => out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_valid_rows_once() {
        let lens = [2, -1, 9, 0];
        let rows = Rows { b: 4, l: 3, lens: Some(&lens) };
        let all: Vec<usize> = rows.iter().collect();
        assert_eq!(all, [0, 1, 6, 7, 8]);
        assert_eq!(rows.count(), all.len());
        for parts in 1..9 {
            let joined: Vec<usize> = (0..parts).flat_map(|part| rows.part(part, parts).collect::<Vec<_>>()).collect();
            assert_eq!(joined, all);
        }
    }
}
