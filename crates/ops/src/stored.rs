//! Floats as a checkpoint stores them.

use std::ops::Range;

use half::{bf16, f16};
use statespace_plan::DType;
use statespace_simd::{Bf16, Element, F16, F32, Isa, SharedOut};

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
