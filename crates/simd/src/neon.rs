//! NEON: four lanes. Every 64-bit ARM CPU has it.

use crate::Element;
use crate::isa::{Isa, sealed::Sealed};
use crate::level::Kernel;
use crate::scalar;
use core::arch::aarch64::*;

/// Proof that this CPU has NEON.
#[derive(Clone, Copy, Debug)]
pub struct Neon(());

/// An intrinsic without memory operands.
macro_rules! op {
    ($call:expr) => {
        // SAFETY: it is called from a method of `Neon`, a value of which exists only where the CPU has the feature.
        unsafe { $call }
    };
}

impl Neon {
    /// The proof, when it can be had.
    pub fn new() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    /// The bits of each lane rounded to bf16, in the upper half of its word.
    #[inline(always)]
    fn bf16_words(self, a: float32x4_t) -> uint32x4_t {
        op!({
            let bits = vreinterpretq_u32_f32(a);
            let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
            let rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7FFF)));
            // The carry could turn a NaN into an infinity; setting its quiet bit does not.
            vbslq_u32(vceqq_f32(a, a), rounded, vorrq_u32(bits, vdupq_n_u32(0x40_0000)))
        })
    }
}

impl Sealed for Neon {}

impl Isa for Neon {
    const NAME: &'static str = "neon";
    const LANES: usize = 4;
    const TILE_ROWS: usize = 12;
    type F32 = float32x4_t;
    type Mask = uint32x4_t;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "neon")]
        #[inline(never)]
        fn with_features<K: Kernel>(isa: Neon, kernel: K) -> K::Output {
            kernel.eval(isa)
        }
        // SAFETY: a value of this type exists only where the CPU has the feature.
        unsafe { with_features(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        op!(vdupq_n_f32(x))
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vaddq_f32(a, b))
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vsubq_f32(a, b))
    }

    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vmulq_f32(a, b))
    }

    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vdivq_f32(a, b))
    }

    #[inline(always)]
    fn fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        op!(vfmaq_f32(c, a, b))
    }

    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vminq_f32(a, b))
    }

    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vmaxq_f32(a, b))
    }

    #[inline(always)]
    fn neg(self, a: float32x4_t) -> float32x4_t {
        op!(vnegq_f32(a))
    }

    #[inline(always)]
    fn abs(self, a: float32x4_t) -> float32x4_t {
        op!(vabsq_f32(a))
    }

    #[inline(always)]
    fn sqrt(self, a: float32x4_t) -> float32x4_t {
        op!(vsqrtq_f32(a))
    }

    #[inline(always)]
    fn round_even(self, a: float32x4_t) -> float32x4_t {
        op!(vrndnq_f32(a))
    }

    #[inline(always)]
    fn scale_exponent(self, a: float32x4_t, n: float32x4_t) -> float32x4_t {
        op!({
            let exponent = vshlq_n_s32::<23>(vcvtnq_s32_f32(n));
            vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a), exponent))
        })
    }

    #[inline(always)]
    fn lt(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        op!(vcltq_f32(a, b))
    }

    #[inline(always)]
    fn select(self, mask: uint32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vbslq_f32(mask, a, b))
    }

    #[inline(always)]
    fn reduce_add(self, a: float32x4_t) -> f32 {
        op!({
            let a = vadd_f32(vget_low_f32(a), vget_high_f32(a));
            vget_lane_f32::<0>(a) + vget_lane_f32::<1>(a)
        })
    }

    #[inline(always)]
    fn reduce_max(self, a: float32x4_t) -> f32 {
        op!(vmaxvq_f32(a))
    }

    #[inline(always)]
    fn round_bf16(self, a: float32x4_t) -> float32x4_t {
        op!(vreinterpretq_f32_u32(vandq_u32(self.bf16_words(a), vdupq_n_u32(0xFFFF_0000))))
    }

    #[inline(always)]
    unsafe fn load_ptr(self, at: *const f32) -> float32x4_t {
        // SAFETY: by the contract of the method; loads of bytes have no alignment.
        unsafe { vreinterpretq_f32_u8(vld1q_u8(at.cast())) }
    }

    #[inline(always)]
    unsafe fn store_ptr(self, at: *mut f32, a: float32x4_t) {
        // SAFETY: by the contract of the method; stores of bytes have no alignment.
        unsafe { vst1q_u8(at.cast(), vreinterpretq_u8_f32(a)) }
    }

    #[inline(always)]
    unsafe fn load_bf16_ptr(self, at: *const u8) -> float32x4_t {
        // SAFETY: by the contract of the method; loads of bytes have no alignment.
        unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vreinterpret_u16_u8(vld1_u8(at)))) }
    }

    #[inline(always)]
    unsafe fn load_f16_ptr(self, at: *const u8) -> float32x4_t {
        // The conversion of the half-precision type itself is not in stable Rust. The bits moved into the fields of an f32 have an
        // exponent that is 112 too small; a product with 2¹¹² repairs that, subnormals included.
        // SAFETY: by the contract of the method; loads of bytes have no alignment.
        unsafe {
            let bits = vreinterpret_u16_u8(vld1_u8(at));
            let sign = vshll_n_u16::<16>(vand_u16(bits, vdup_n_u16(0x8000)));
            let magnitude = vshll_n_u16::<13>(vand_u16(bits, vdup_n_u16(0x7FFF)));
            let finite = vreinterpretq_u32_f32(vmulq_f32(vreinterpretq_f32_u32(magnitude), vdupq_n_f32(f32::from_bits((127 + 112) << 23))));
            let special = vorrq_u32(magnitude, vdupq_n_u32(0xFF << 23));
            let widened = vbslq_u32(vcgeq_u32(magnitude, vdupq_n_u32(0x1F << 23)), special, finite);
            vreinterpretq_f32_u32(vorrq_u32(sign, widened))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16_ptr(self, at: *mut u16, a: float32x4_t) {
        // SAFETY: by the contract of the method; stores of bytes have no alignment.
        unsafe { vst1_u8(at.cast(), vreinterpret_u8_u16(vshrn_n_u32::<16>(self.bf16_words(a)))) }
    }

    #[inline(always)]
    unsafe fn store_f16_ptr(self, at: *mut u16, a: float32x4_t) {
        let mut lanes = [0.0; 4];
        self.store(&mut lanes, a);
        // SAFETY: by the contract of the method.
        unsafe { at.cast::<[u16; 4]>().write_unaligned(lanes.map(scalar::f16_bits)) }
    }

    #[inline(always)]
    unsafe fn transpose_ptr<E: Element>(self, from: *const u8, pitch: usize, to: *mut f32, width: usize) {
        // SAFETY: by the contract of the method.
        unsafe {
            let (a, b) = (E::load_ptr(self, from), E::load_ptr(self, from.add(pitch)));
            let (c, d) = (E::load_ptr(self, from.add(2 * pitch)), E::load_ptr(self, from.add(3 * pitch)));
            let (ab, cd) = ([vtrn1q_f32(a, b), vtrn2q_f32(a, b)], [vtrn1q_f32(c, d), vtrn2q_f32(c, d)]);
            for i in 0..2 {
                let (upper, lower) = (vreinterpretq_f64_f32(ab[i]), vreinterpretq_f64_f32(cd[i]));
                self.store_ptr(to.add(i * width), vreinterpretq_f32_f64(vtrn1q_f64(upper, lower)));
                self.store_ptr(to.add((2 + i) * width), vreinterpretq_f32_f64(vtrn2q_f64(upper, lower)));
            }
        }
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        // SAFETY: a prefetch of any address is defined; the intrinsic is not in stable Rust.
        unsafe { core::arch::asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, readonly, preserves_flags)) }
    }
}
