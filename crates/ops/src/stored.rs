//! Floats as a checkpoint stores them.

use std::ops::Range;

use half::{bf16, f16};
use statespace_plan::DType;
use statespace_simd::{Bf16, Element, F16, F32, Isa, SharedOut};

use crate::rows::Input;

/// Floats in their stored width: little-endian bytes of any alignment, as they lie in a mapped file.
#[derive(Clone, Copy, Debug)]
pub enum Stored<'a> {
    /// 32-bit floats.
    F32(&'a [u8]),
    /// bfloat16: the upper half of an f32.
    Bf16(&'a [u8]),
    /// IEEE half precision.
    F16(&'a [u8]),
}

impl<'a> Stored<'a> {
    /// `bytes` as elements of a dtype; none when it is not a float.
    pub fn new(dtype: DType, bytes: &'a [u8]) -> Option<Self> {
        match dtype {
            DType::F32 => Some(Self::F32(bytes)),
            DType::Bf16 => Some(Self::Bf16(bytes)),
            DType::F16 => Some(Self::F16(bytes)),
            DType::I32 | DType::U32 | DType::U8 => None,
        }
    }

    /// The dtype.
    pub fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::Bf16(_) => DType::Bf16,
            Self::F16(_) => DType::F16,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(bytes) => bytes.len() / 4,
            Self::Bf16(bytes) | Self::F16(bytes) => bytes.len() / 2,
        }
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements `range`, widened; lanes past its end are zero, elements past a vector are not looked at.
    #[inline(always)]
    pub fn load<I: Isa>(&self, isa: I, range: Range<usize>) -> I::F32 {
        match self {
            Self::F32(bytes) => F32::load(isa, &bytes[4 * range.start..4 * range.end]),
            Self::Bf16(bytes) => Bf16::load(isa, &bytes[2 * range.start..2 * range.end]),
            Self::F16(bytes) => F16::load(isa, &bytes[2 * range.start..2 * range.end]),
        }
    }

    /// All elements, widened: what the references take.
    pub fn widened(&self) -> Vec<f64> {
        let two = |at: &[u8]| u16::from_le_bytes([at[0], at[1]]);
        match self {
            Self::F32(bytes) => bytes.chunks_exact(4).map(|at| f64::from(f32::from_le_bytes([at[0], at[1], at[2], at[3]]))).collect(),
            Self::Bf16(bytes) => bytes.chunks_exact(2).map(|at| f64::from(bf16::from_bits(two(at)))).collect(),
            Self::F16(bytes) => bytes.chunks_exact(2).map(|at| f64::from(f16::from_bits(two(at)))).collect(),
        }
    }
}

/// Activations in one of the stored types, which may share the output's memory; 16-bit floats by their bits.
#[derive(Clone, Copy, Debug)]
pub enum StoredInput<'a> {
    /// 32-bit floats.
    F32(Input<'a>),
    /// bfloat16.
    Bf16(Input<'a, u16>),
    /// IEEE half precision.
    F16(Input<'a, u16>),
}

/// Neighboring elements of a row.
#[derive(Clone, Copy)]
pub(crate) enum Segment<'a> {
    F32(&'a [f32]),
    Bf16(&'a [u16]),
    F16(&'a [u16]),
}

impl<'a> StoredInput<'a> {
    /// Columns of row `r`: of the input's own memory, or of `out`, which is that segment of the output.
    #[inline(always)]
    pub(crate) fn segment<'s>(&self, r: usize, columns: Range<usize>, out: Segment<'s>) -> Segment<'s>
    where
        'a: 's,
    {
        match (self, out) {
            (Self::F32(input), Segment::F32(out)) => Segment::F32(input.segment(r, columns, out)),
            (Self::Bf16(input), Segment::Bf16(out)) => Segment::Bf16(input.segment(r, columns, out)),
            (Self::F16(input), Segment::F16(out)) => Segment::F16(input.segment(r, columns, out)),
            (Self::F32(Input::Apart(mat)), _) => Segment::F32(&mat.data[r * mat.ld..][columns]),
            (Self::Bf16(Input::Apart(mat)), _) => Segment::Bf16(&mat.data[r * mat.ld..][columns]),
            (Self::F16(Input::Apart(mat)), _) => Segment::F16(&mat.data[r * mat.ld..][columns]),
            _ => panic!("what lies in the output has its type"),
        }
    }

    /// Columns of row `r` of one that is in memory of its own.
    #[inline(always)]
    pub(crate) fn row(&self, r: usize, columns: Range<usize>) -> Segment<'a> {
        self.segment(r, columns, Segment::F32(&[]))
    }
}

impl Segment<'_> {
    /// Elements from `at` on, widened; lanes past the end are zero.
    #[inline(always)]
    pub(crate) fn load<I: Isa>(self, isa: I, at: usize) -> I::F32 {
        match self {
            Self::F32(from) => isa.load_partial(&from[at..]),
            Self::Bf16(from) => Bf16::load(isa, bytemuck::cast_slice(&from[at..])),
            Self::F16(from) => F16::load(isa, bytemuck::cast_slice(&from[at..])),
        }
    }

    /// All elements, widened.
    #[inline(always)]
    pub(crate) fn widen<I: Isa>(self, isa: I, to: &mut [f32]) {
        for (i, to) in to.chunks_mut(I::LANES).enumerate() {
            isa.store_partial(to, self.load(isa, i * I::LANES));
        }
    }
}

/// An output in one of the stored types; 16-bit floats by their bits.
#[derive(Debug)]
pub enum StoredOut<'a> {
    /// 32-bit floats.
    F32(SharedOut<'a, f32>),
    /// bfloat16.
    Bf16(SharedOut<'a, u16>),
    /// IEEE half precision.
    F16(SharedOut<'a, u16>),
}

impl StoredOut<'_> {
    /// A piece of it, to read what lies there.
    #[inline(always)]
    pub(crate) fn segment(&mut self, range: Range<usize>) -> Segment<'_> {
        match self {
            Self::F32(y) => Segment::F32(y.slice_mut(range)),
            Self::Bf16(y) => Segment::Bf16(y.slice_mut(range)),
            Self::F16(y) => Segment::F16(y.slice_mut(range)),
        }
    }

    /// Writes the elements of a range, at most a vector's, narrowed.
    #[inline(always)]
    pub(crate) fn store<I: Isa>(&mut self, isa: I, range: Range<usize>, value: I::F32) {
        match self {
            Self::F32(y) => isa.store_partial(y.slice_mut(range), value),
            Self::Bf16(y) => isa.store_bf16(y.slice_mut(range), value),
            Self::F16(y) => isa.store_f16(y.slice_mut(range), value),
        }
    }
}
