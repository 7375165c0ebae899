//! Floats as a checkpoint stores them.

use half::{bf16, f16};

/// A tensor's elements in their stored width; 16-bit floats are given by their bits.
#[derive(Clone, Copy, Debug)]
pub enum Stored<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// bfloat16: the upper half of an f32.
    Bf16(&'a [u16]),
    /// IEEE half precision.
    F16(&'a [u16]),
}

impl Stored<'_> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(x) => x.len(),
            Self::Bf16(x) | Self::F16(x) => x.len(),
        }
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element `i`; widening is exact.
    pub fn get(&self, i: usize) -> f32 {
        match self {
            Self::F32(x) => x[i],
            Self::Bf16(x) => bf16::from_bits(x[i]).to_f32(),
            Self::F16(x) => f16::from_bits(x[i]).to_f32(),
        }
    }
}
