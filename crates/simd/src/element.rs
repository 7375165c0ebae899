//! How a stored float becomes a lane.

use crate::{Isa, MAX_LANES, scalar};

/// A float in its stored width, little-endian, of any alignment.
pub trait Element: Copy + 'static {
    /// Bytes of one.
    const BYTES: usize;

    /// Columns of a matrix that one covers: 2 of a pair, else 1.
    const COLUMNS: usize = 1;

    /// What it is once it is loaded, in a packed panel.
    type Loaded: Element;

    /// Loads and widens `LANES` of them.
    ///
    /// # Safety
    /// `LANES · BYTES` bytes can be read at `at`.
    unsafe fn load_ptr<I: Isa>(isa: I, at: *const u8) -> I::F32;

    /// Loads and widens `2·LANES` of them.
    ///
    /// # Safety
    /// `2 · LANES · BYTES` bytes can be read at `at`.
    #[inline(always)]
    unsafe fn load_two_ptr<I: Isa>(isa: I, at: *const u8) -> [I::F32; 2] {
        // SAFETY: by the contract of the method.
        unsafe { [Self::load_ptr(isa, at), Self::load_ptr(isa, at.add(I::LANES * Self::BYTES))] }
    }

    /// Loads and widens as many as there are, up to `LANES`; lanes past the end are zero.
    #[inline(always)]
    fn load<I: Isa>(isa: I, from: &[u8]) -> I::F32 {
        if from.len() >= Self::BYTES * I::LANES {
            // SAFETY: the length was checked.
            return unsafe { Self::load_ptr(isa, from.as_ptr()) };
        }
        let mut padded = [0; 8 * MAX_LANES];
        padded[..from.len()].copy_from_slice(from);
        // SAFETY: the array holds `MAX_LANES` of the widest element.
        unsafe { Self::load_ptr(isa, padded.as_ptr()) }
    }

    /// The first one, as a lane; of a pair the second half is zero where the bytes end.
    fn widen(from: &[u8]) -> f32;

    /// sum + x · w of loaded elements.
    #[inline(always)]
    fn fma<I: Isa>(isa: I, x: I::F32, w: I::F32, sum: I::F32) -> I::F32 {
        if Self::COLUMNS == 2 { isa.dot_bf16(x, w, sum) } else { isa.fma(x, w, sum) }
    }
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

/// Two bfloat16, multiplied by [`Isa::dot_bf16`].
#[derive(Clone, Copy, Debug)]
pub struct Bf16Pair;

/// Two f32 that become a [`Bf16Pair`] as they are loaded.
#[derive(Clone, Copy, Debug)]
pub struct F32Pair;

impl Element for F32 {
    const BYTES: usize = 4;
    type Loaded = F32;

    #[inline(always)]
    unsafe fn load_ptr<I: Isa>(isa: I, at: *const u8) -> I::F32 {
        // SAFETY: by the contract of the method.
        unsafe { isa.load_ptr(at.cast()) }
    }

    #[inline(always)]
    fn widen(from: &[u8]) -> f32 {
        f32::from_le_bytes([from[0], from[1], from[2], from[3]])
    }
}

impl Element for F32AsBf16 {
    const BYTES: usize = 4;
    type Loaded = F32;

    #[inline(always)]
    unsafe fn load_ptr<I: Isa>(isa: I, at: *const u8) -> I::F32 {
        // SAFETY: by the contract of the method.
        isa.round_bf16(unsafe { isa.load_ptr(at.cast()) })
    }

    #[inline(always)]
    fn widen(from: &[u8]) -> f32 {
        scalar::widen_bf16(scalar::bf16_bits(F32::widen(from)))
    }
}

impl Element for Bf16 {
    const BYTES: usize = 2;
    type Loaded = F32;

    #[inline(always)]
    unsafe fn load_ptr<I: Isa>(isa: I, at: *const u8) -> I::F32 {
        // SAFETY: by the contract of the method.
        unsafe { isa.load_bf16_ptr(at) }
    }

    #[inline(always)]
    unsafe fn load_two_ptr<I: Isa>(isa: I, at: *const u8) -> [I::F32; 2] {
        // SAFETY: by the contract of the method.
        unsafe { isa.load_two_bf16_ptr(at) }
    }

    #[inline(always)]
    fn widen(from: &[u8]) -> f32 {
        scalar::widen_bf16(u16::from_le_bytes([from[0], from[1]]))
    }
}

impl Element for F16 {
    const BYTES: usize = 2;
    type Loaded = F32;

    #[inline(always)]
    unsafe fn load_ptr<I: Isa>(isa: I, at: *const u8) -> I::F32 {
        // SAFETY: by the contract of the method.
        unsafe { isa.load_f16_ptr(at) }
    }

    #[inline(always)]
    fn widen(from: &[u8]) -> f32 {
        scalar::widen_f16(u16::from_le_bytes([from[0], from[1]]))
    }
}

impl Element for Bf16Pair {
    const BYTES: usize = 4;
    const COLUMNS: usize = 2;
    type Loaded = Self;

    #[inline(always)]
    unsafe fn load_ptr<I: Isa>(isa: I, at: *const u8) -> I::F32 {
        // SAFETY: by the contract of the method.
        unsafe { isa.load_ptr(at.cast()) }
    }

    #[inline(always)]
    fn widen(from: &[u8]) -> f32 {
        let second = from.get(2..4).unwrap_or(&[0; 2]);
        f32::from_le_bytes([from[0], from[1], second[0], second[1]])
    }
}

impl Element for F32Pair {
    const BYTES: usize = 8;
    const COLUMNS: usize = 2;
    type Loaded = Bf16Pair;

    #[inline(always)]
    unsafe fn load_ptr<I: Isa>(isa: I, at: *const u8) -> I::F32 {
        // SAFETY: by the contract of the method; the second half begins after `LANES` numbers.
        unsafe { isa.pair_bf16(isa.load_ptr(at.cast()), isa.load_ptr(at.add(4 * I::LANES).cast())) }
    }

    #[inline(always)]
    fn widen(from: &[u8]) -> f32 {
        scalar::bf16_pair(F32::widen(from), from.get(4..8).map_or(0.0, F32::widen))
    }
}
