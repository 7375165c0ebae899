//! How a stored float becomes a lane.

use crate::Isa;
use crate::scalar;

/// A float in its stored width, little-endian, of any alignment.
pub trait Element: Copy + 'static {
    /// Bytes of one.
    const BYTES: usize;

    /// Loads and widens `LANES` of them.
    ///
    /// # Safety
    /// `LANES · BYTES` bytes can be read at `at`.
    unsafe fn load_ptr<I: Isa>(isa: I, at: *const u8) -> I::F32;

    /// Loads and widens as many as there are, up to `LANES`; lanes past the end are zero.
    fn load<I: Isa>(isa: I, from: &[u8]) -> I::F32;

    /// The first one.
    fn widen(from: &[u8]) -> f32;
}

/// f32.
#[derive(Clone, Copy, Debug)]
pub struct F32;

/// f32 that is rounded to the nearest bf16 as it is loaded.
#[derive(Clone, Copy, Debug)]
pub struct F32AsBf16;

/// bfloat16.
#[derive(Clone, Copy, Debug)]
pub struct Bf16;

/// IEEE half precision.
#[derive(Clone, Copy, Debug)]
pub struct F16;

impl Element for F32 {
    const BYTES: usize = 4;

    #[inline(always)]
    unsafe fn load_ptr<I: Isa>(isa: I, at: *const u8) -> I::F32 {
        // SAFETY: by the contract of the method.
        unsafe { isa.load_ptr(at.cast()) }
    }

    #[inline(always)]
    fn load<I: Isa>(isa: I, from: &[u8]) -> I::F32 {
        isa.load_f32_bytes(from)
    }

    #[inline(always)]
    fn widen(from: &[u8]) -> f32 {
        f32::from_le_bytes([from[0], from[1], from[2], from[3]])
    }
}

impl Element for F32AsBf16 {
    const BYTES: usize = 4;

    #[inline(always)]
    unsafe fn load_ptr<I: Isa>(isa: I, at: *const u8) -> I::F32 {
        // SAFETY: by the contract of the method.
        isa.round_bf16(unsafe { isa.load_ptr(at.cast()) })
    }

    #[inline(always)]
    fn load<I: Isa>(isa: I, from: &[u8]) -> I::F32 {
        isa.round_bf16(isa.load_f32_bytes(from))
    }

    #[inline(always)]
    fn widen(from: &[u8]) -> f32 {
        scalar::widen_bf16(scalar::bf16_bits(F32::widen(from)))
    }
}

impl Element for Bf16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load_ptr<I: Isa>(isa: I, at: *const u8) -> I::F32 {
        // SAFETY: by the contract of the method.
        unsafe { isa.load_bf16_ptr(at) }
    }

    #[inline(always)]
    fn load<I: Isa>(isa: I, from: &[u8]) -> I::F32 {
        isa.load_bf16(from)
    }

    #[inline(always)]
    fn widen(from: &[u8]) -> f32 {
        scalar::widen_bf16(u16::from_le_bytes([from[0], from[1]]))
    }
}

impl Element for F16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load_ptr<I: Isa>(isa: I, at: *const u8) -> I::F32 {
        // SAFETY: by the contract of the method.
        unsafe { isa.load_f16_ptr(at) }
    }

    #[inline(always)]
    fn load<I: Isa>(isa: I, from: &[u8]) -> I::F32 {
        isa.load_f16(from)
    }

    #[inline(always)]
    fn widen(from: &[u8]) -> f32 {
        scalar::widen_f16(u16::from_le_bytes([from[0], from[1]]))
    }
}
