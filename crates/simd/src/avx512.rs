//! AVX-512 F, BW, VL and DQ: sixteen lanes, masks for tails. Servers since Skylake-X (2017), Zen since its fourth generation. With AVX512-BF16 too
//! (Cooper Lake, Sapphire Rapids, Zen 4) it is an instruction set of its own, `avx512bf16`, which multiplies pairs of bf16.

use crate::Element;
use crate::avx2;
use crate::isa::{Isa, sealed::Sealed};
use crate::level::Kernel;
use crate::pairs;
use core::arch::x86_64::*;
use core::mem::transmute;

/// Proof that this CPU has AVX-512 F, BW, VL and DQ, and AVX512-BF16 when `BF16`.
#[derive(Clone, Copy, Debug)]
pub struct Avx512<const BF16: bool = false>(());

/// An intrinsic without memory operands.
macro_rules! op {
    ($call:expr) => {
        // SAFETY: it is called from a method of `Avx512`, a value of which exists only where the CPU has the features.
        unsafe { $call }
    };
}

impl<const BF16: bool> Avx512<BF16> {
    /// The proof, when it can be had.
    pub fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && (!BF16 || is_x86_feature_detected!("avx512bf16"));
        (has && crate::Avx2::new().is_some()).then_some(Self(()))
    }

    /// The bits of each lane rounded to bf16, in the upper half of its word.
    #[inline(always)]
    fn bf16_words(self, a: __m512) -> __m512i {
        op!({
            let bits = _mm512_castps_si512(a);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
            // The carry could turn a NaN into an infinity; setting its quiet bit does not.
            _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), bits, _mm512_set1_epi32(0x40_0000))
        })
    }
}

/// The lanes below n.
#[inline(always)]
fn lower(n: usize) -> __mmask16 {
    if n >= 16 { !0 } else { (1 << n) - 1 }
}

impl<const BF16: bool> Sealed for Avx512<BF16> {}

impl<const BF16: bool> Isa for Avx512<BF16> {
    const NAME: &'static str = if BF16 { "avx512bf16" } else { "avx512" };
    const LANES: usize = 16;
    const TILE_ROWS: usize = 12;
    const BF16_DOT: bool = BF16;
    type F32 = __m512;
    type Mask = __mmask16;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
        #[inline(never)]
        fn plain<K: Kernel>(isa: Avx512<false>, kernel: K) -> K::Output {
            kernel.eval(isa)
        }
        #[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
        #[inline(never)]
        fn with_bf16<K: Kernel, const BF16: bool>(isa: Avx512<BF16>, kernel: K) -> K::Output {
            kernel.eval(isa)
        }
        // SAFETY: a value of this type exists only where the CPU has the features.
        unsafe { if BF16 && K::PAIRS { with_bf16(self, kernel) } else { plain(Avx512(()), kernel) } }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        op!(_mm512_set1_ps(x))
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        op!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_min_ps(a, b))
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn neg(self, a: __m512) -> __m512 {
        op!(_mm512_xor_ps(a, _mm512_set1_ps(-0.0)))
    }

    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        op!(_mm512_andnot_ps(_mm512_set1_ps(-0.0), a))
    }

    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        op!(_mm512_sqrt_ps(a))
    }

    #[inline(always)]
    fn round_even(self, a: __m512) -> __m512 {
        op!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }

    #[inline(always)]
    fn scale_exponent(self, a: __m512, n: __m512) -> __m512 {
        op!(_mm512_scalef_ps(a, n))
    }

    #[inline(always)]
    fn lt(self, a: __m512, b: __m512) -> __mmask16 {
        op!(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b))
    }

    #[inline(always)]
    fn select(self, mask: __mmask16, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_mask_blend_ps(mask, b, a))
    }

    #[inline(always)]
    fn reduce_add(self, a: __m512) -> f32 {
        op!({
            let a = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)))
        })
    }

    #[inline(always)]
    fn reduce_max(self, a: __m512) -> f32 {
        op!({
            let a = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let a = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)))
        })
    }

    #[inline(always)]
    fn round_bf16(self, a: __m512) -> __m512 {
        op!(_mm512_castsi512_ps(_mm512_and_si512(self.bf16_words(a), _mm512_set1_epi32(-0x1_0000))))
    }

    #[inline(always)]
    fn pair_bf16(self, a: __m512, b: __m512) -> __m512 {
        if !BF16 {
            return pairs::round(self, a, b);
        }
        op!(transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(b, a)))
    }

    /// `vdpbf16ps` takes subnormal factors and sums as zero, whatever the control register says, and rounds to nearest.
    #[inline(always)]
    fn dot_bf16(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        if !BF16 {
            return pairs::dot(self, a, b, c);
        }
        op!(_mm512_dpbf16_ps(c, transmute::<__m512, __m512bh>(a), transmute::<__m512, __m512bh>(b)))
    }

    #[inline(always)]
    unsafe fn load_ptr(self, at: *const f32) -> __m512 {
        // SAFETY: by the contract of the method; the load has no alignment.
        unsafe { _mm512_loadu_ps(at) }
    }

    #[inline(always)]
    unsafe fn store_ptr(self, at: *mut f32, a: __m512) {
        // SAFETY: by the contract of the method; the store has no alignment.
        unsafe { _mm512_storeu_ps(at, a) }
    }

    #[inline(always)]
    unsafe fn load_bf16_ptr(self, at: *const u8) -> __m512 {
        // SAFETY: by the contract of the method; the load has no alignment.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast())))) }
    }

    #[inline(always)]
    unsafe fn load_f16_ptr(self, at: *const u8) -> __m512 {
        // SAFETY: by the contract of the method; the load has no alignment.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(at.cast())) }
    }

    #[inline(always)]
    unsafe fn store_bf16_ptr(self, at: *mut u16, a: __m512) {
        // SAFETY: by the contract of the method; the store has no alignment.
        unsafe { _mm256_storeu_si256(at.cast(), _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(self.bf16_words(a)))) }
    }

    #[inline(always)]
    unsafe fn store_f16_ptr(self, at: *mut u16, a: __m512) {
        // SAFETY: by the contract of the method; the store has no alignment.
        unsafe { _mm256_storeu_si256(at.cast(), _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a)) }
    }

    #[inline(always)]
    fn load_partial(self, from: &[f32]) -> __m512 {
        // SAFETY: only lanes below the length are read.
        unsafe { _mm512_maskz_loadu_ps(lower(from.len()), from.as_ptr()) }
    }

    #[inline(always)]
    fn store_partial(self, to: &mut [f32], a: __m512) {
        // SAFETY: only lanes below the length are written.
        unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), lower(to.len()), a) }
    }

    #[inline(always)]
    unsafe fn transpose_ptr<E: Element>(self, from: *const u8, pitch: usize, to: *mut f32, width: usize) {
        // SAFETY: by the contract of the method; its square is four squares of eight.
        unsafe {
            for block in [0, 8] {
                let (mut left, mut right) = ([_mm256_setzero_ps(); 8], [_mm256_setzero_ps(); 8]);
                for i in 0..8 {
                    let row = E::load_ptr(self, from.add((block + i) * pitch));
                    (left[i], right[i]) = (_mm512_castps512_ps256(row), _mm512_extractf32x8_ps::<1>(row));
                }
                let (left, right) = (avx2::transpose(left), avx2::transpose(right));
                for i in 0..8 {
                    _mm256_storeu_ps(to.add(i * width + block), left[i]);
                    _mm256_storeu_ps(to.add((8 + i) * width + block), right[i]);
                }
            }
        }
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        // SAFETY: a prefetch of any address is defined.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
