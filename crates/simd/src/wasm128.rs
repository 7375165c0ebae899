//! WebAssembly SIMD: four lanes. A module that holds such code is refused as a whole where it cannot run, so code that runs has it.

use crate::Element;
use crate::isa::{Isa, sealed::Sealed};
use crate::level::Kernel;
use core::arch::wasm32::*;

/// Proof that this module was compiled for SIMD128.
#[derive(Clone, Copy, Debug)]
pub struct Wasm128(());

impl Wasm128 {
    /// The proof; it can always be had where this type exists.
    pub fn new() -> Option<Self> {
        Some(Self(()))
    }

    /// The bits of each lane rounded to bf16, in the upper half of its word.
    #[inline(always)]
    fn bf16_words(self, a: v128) -> v128 {
        let odd = v128_and(u32x4_shr(a, 16), u32x4_splat(1));
        let rounded = i32x4_add(a, i32x4_add(odd, u32x4_splat(0x7FFF)));
        // The carry could turn a NaN into an infinity; setting its quiet bit does not.
        v128_bitselect(rounded, v128_or(a, u32x4_splat(0x40_0000)), f32x4_eq(a, a))
    }

    /// The bits of each lane rounded to f16, in the lower half of its word; the cases of `f16_bits` in `scalar.rs`.
    #[inline(always)]
    fn f16_words(self, a: v128) -> v128 {
        let sign = v128_and(u32x4_shr(a, 16), u32x4_splat(0x8000));
        let magnitude = v128_and(a, u32x4_splat(0x7FFF_FFFF));
        let upper = u32x4_shr(magnitude, 13);
        let carry = i32x4_add(u32x4_splat(0xFFFu32.wrapping_sub(112 << 23)), v128_and(upper, u32x4_splat(1)));
        let normal = u32x4_shr(i32x4_add(magnitude, carry), 13);
        let subnormal = i32x4_sub(f32x4_add(magnitude, f32x4_splat(0.5)), u32x4_splat(0x3F00_0000));
        let finite = v128_bitselect(subnormal, normal, i32x4_lt(magnitude, u32x4_splat(113 << 23)));
        let bounded = v128_bitselect(finite, u32x4_splat(0x7C00), i32x4_lt(magnitude, u32x4_splat(0x477F_F000)));
        let nan = v128_or(u32x4_splat(0x7E00), v128_and(upper, u32x4_splat(0x1FF)));
        v128_or(sign, v128_bitselect(nan, bounded, i32x4_gt(magnitude, u32x4_splat(0xFF << 23))))
    }
}

impl Sealed for Wasm128 {}

impl Isa for Wasm128 {
    const NAME: &'static str = if cfg!(target_feature = "relaxed-simd") { "relaxed-simd" } else { "simd128" };
    const LANES: usize = 4;
    // Engines on x86-64 have 15 registers to give, and put all loads of a loop before its arithmetic: eight sums, two vectors of the panel, four
    // elements of x and a product.
    const TILE_ROWS: usize = 4;
    type F32 = v128;
    type Mask = v128;

    #[inline(never)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.eval(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> v128 {
        f32x4_splat(x)
    }

    #[inline(always)]
    fn add(self, a: v128, b: v128) -> v128 {
        f32x4_add(a, b)
    }

    #[inline(always)]
    fn sub(self, a: v128, b: v128) -> v128 {
        f32x4_sub(a, b)
    }

    #[inline(always)]
    fn mul(self, a: v128, b: v128) -> v128 {
        f32x4_mul(a, b)
    }

    #[inline(always)]
    fn div(self, a: v128, b: v128) -> v128 {
        f32x4_div(a, b)
    }

    #[inline(always)]
    fn fma(self, a: v128, b: v128, c: v128) -> v128 {
        #[cfg(target_feature = "relaxed-simd")]
        return f32x4_relaxed_madd(a, b, c);
        #[cfg(not(target_feature = "relaxed-simd"))]
        f32x4_add(f32x4_mul(a, b), c)
    }

    #[inline(always)]
    fn min(self, a: v128, b: v128) -> v128 {
        // One instruction of x86-64, where the form that passes NaN on is many.
        f32x4_pmin(a, b)
    }

    #[inline(always)]
    fn max(self, a: v128, b: v128) -> v128 {
        f32x4_pmax(a, b)
    }

    #[inline(always)]
    fn neg(self, a: v128) -> v128 {
        f32x4_neg(a)
    }

    #[inline(always)]
    fn abs(self, a: v128) -> v128 {
        f32x4_abs(a)
    }

    #[inline(always)]
    fn sqrt(self, a: v128) -> v128 {
        f32x4_sqrt(a)
    }

    #[inline(always)]
    fn round_even(self, a: v128) -> v128 {
        f32x4_nearest(a)
    }

    #[inline(always)]
    fn scale_exponent(self, a: v128, n: v128) -> v128 {
        // Near 1.5 · 2²³ the last place is 1, so the sum holds n in its lowest bits; a conversion to integers, which saturates, is long code.
        i32x4_add(a, i32x4_shl(f32x4_add(n, f32x4_splat(12_582_912.0)), 23))
    }

    #[inline(always)]
    fn lt(self, a: v128, b: v128) -> v128 {
        f32x4_lt(a, b)
    }

    #[inline(always)]
    fn select(self, mask: v128, a: v128, b: v128) -> v128 {
        v128_bitselect(a, b, mask)
    }

    #[inline(always)]
    fn reduce_add(self, a: v128) -> f32 {
        let a = f32x4_add(a, i64x2_shuffle::<1, 0>(a, a));
        f32x4_extract_lane::<0>(a) + f32x4_extract_lane::<1>(a)
    }

    #[inline(always)]
    fn reduce_max(self, a: v128) -> f32 {
        let a = f32x4_pmax(a, i64x2_shuffle::<1, 0>(a, a));
        f32x4_extract_lane::<0>(f32x4_pmax(a, i32x4_shuffle::<1, 0, 3, 2>(a, a)))
    }

    #[inline(always)]
    fn round_bf16(self, a: v128) -> v128 {
        v128_and(self.bf16_words(a), u32x4_splat(0xFFFF_0000))
    }

    #[inline(always)]
    unsafe fn load_ptr(self, at: *const f32) -> v128 {
        // SAFETY: by the contract of the method; the load has no alignment.
        unsafe { v128_load(at.cast()) }
    }

    #[inline(always)]
    unsafe fn store_ptr(self, at: *mut f32, a: v128) {
        // SAFETY: by the contract of the method; the store has no alignment.
        unsafe { v128_store(at.cast(), a) }
    }

    #[inline(always)]
    unsafe fn load_bf16_ptr(self, at: *const u8) -> v128 {
        // SAFETY: by the contract of the method; the load has no alignment.
        u32x4_shl(unsafe { u32x4_load_extend_u16x4(at.cast()) }, 16)
    }

    #[inline(always)]
    unsafe fn load_two_bf16_ptr(self, at: *const u8) -> [v128; 2] {
        // SAFETY: by the contract of the method; the load has no alignment.
        let both = unsafe { v128_load(at.cast()) };
        let zero = u16x8_splat(0);
        [u16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(zero, both), u16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(zero, both)]
    }

    #[inline(always)]
    unsafe fn load_f16_ptr(self, at: *const u8) -> v128 {
        // The bits moved into the fields of an f32 have an exponent that is 112 too small; a product with 2¹¹² repairs that, subnormals
        // included.
        // SAFETY: by the contract of the method; the load has no alignment.
        let bits = unsafe { u32x4_load_extend_u16x4(at.cast()) };
        let sign = u32x4_shl(v128_and(bits, u32x4_splat(0x8000)), 16);
        let magnitude = u32x4_shl(v128_and(bits, u32x4_splat(0x7FFF)), 13);
        let finite = f32x4_mul(magnitude, f32x4_splat(f32::from_bits((127 + 112) << 23)));
        let special = v128_or(magnitude, u32x4_splat(0xFF << 23));
        v128_or(sign, v128_bitselect(finite, special, i32x4_lt(magnitude, u32x4_splat(0x1F << 23))))
    }

    #[inline(always)]
    unsafe fn store_bf16_ptr(self, at: *mut u16, a: v128) {
        let words = u32x4_shr(self.bf16_words(a), 16);
        // SAFETY: by the contract of the method; the store has no alignment.
        unsafe { v128_store64_lane::<0>(u16x8_narrow_i32x4(words, words), at.cast()) }
    }

    #[inline(always)]
    unsafe fn store_f16_ptr(self, at: *mut u16, a: v128) {
        let words = self.f16_words(a);
        // SAFETY: by the contract of the method; the store has no alignment.
        unsafe { v128_store64_lane::<0>(u16x8_narrow_i32x4(words, words), at.cast()) }
    }

    #[inline(always)]
    unsafe fn transpose_ptr<E: Element>(self, from: *const u8, pitch: usize, to: *mut f32, width: usize) {
        // SAFETY: by the contract of the method.
        unsafe {
            let (a, b) = (E::load_ptr(self, from), E::load_ptr(self, from.add(pitch)));
            let (c, d) = (E::load_ptr(self, from.add(2 * pitch)), E::load_ptr(self, from.add(3 * pitch)));
            let (lower_ab, upper_ab) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
            let (lower_cd, upper_cd) = (i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
            self.store_ptr(to, i64x2_shuffle::<0, 2>(lower_ab, lower_cd));
            self.store_ptr(to.add(width), i64x2_shuffle::<1, 3>(lower_ab, lower_cd));
            self.store_ptr(to.add(2 * width), i64x2_shuffle::<0, 2>(upper_ab, upper_cd));
            self.store_ptr(to.add(3 * width), i64x2_shuffle::<1, 3>(upper_ab, upper_cd));
        }
    }
}
