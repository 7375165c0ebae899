//! AVX2 with FMA and F16C: eight lanes. Every x86-64 CPU since Haswell (2013) and Zen has the three.

use crate::Element;
use crate::isa::{Isa, sealed::Sealed};
use crate::level::Kernel;
use core::arch::x86_64::*;

/// Proof that this CPU has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    /// The proof, when it can be had.
    pub fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }
}

/// An intrinsic without memory operands.
macro_rules! op {
    ($call:expr) => {
        // SAFETY: it is called from a method of `Avx2`, a value of which exists only where the CPU has the features.
        unsafe { $call }
    };
}

/// For n elements, the lanes below n: the eight words from `8 - n`.
static LOWER: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[inline(always)]
fn lower(n: usize) -> __m256i {
    let words = &LOWER[8 - n..][..8];
    // SAFETY: eight words are read.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

impl Avx2 {
    /// The bits of each lane rounded to bf16, in the upper half of its word.
    #[inline(always)]
    fn bf16_words(self, a: __m256) -> __m256i {
        op!({
            let bits = _mm256_castps_si256(a);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
            // The carry could turn a NaN into an infinity; setting its quiet bit does not.
            let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x40_0000));
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(a, a));
            _mm256_blendv_epi8(rounded, quiet, nan)
        })
    }
}

/// The transpose of eight rows.
#[inline(always)]
pub(crate) fn transpose(rows: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: it is called from methods of `Avx2` and `Avx512`, values of which exist only where the CPU has AVX2.
    unsafe {
        let pairs: [__m256; 8] = [
            _mm256_unpacklo_ps(rows[0], rows[1]),
            _mm256_unpackhi_ps(rows[0], rows[1]),
            _mm256_unpacklo_ps(rows[2], rows[3]),
            _mm256_unpackhi_ps(rows[2], rows[3]),
            _mm256_unpacklo_ps(rows[4], rows[5]),
            _mm256_unpackhi_ps(rows[4], rows[5]),
            _mm256_unpacklo_ps(rows[6], rows[7]),
            _mm256_unpackhi_ps(rows[6], rows[7]),
        ];
        let quads: [__m256; 8] = [
            _mm256_shuffle_ps::<0x44>(pairs[0], pairs[2]),
            _mm256_shuffle_ps::<0xEE>(pairs[0], pairs[2]),
            _mm256_shuffle_ps::<0x44>(pairs[1], pairs[3]),
            _mm256_shuffle_ps::<0xEE>(pairs[1], pairs[3]),
            _mm256_shuffle_ps::<0x44>(pairs[4], pairs[6]),
            _mm256_shuffle_ps::<0xEE>(pairs[4], pairs[6]),
            _mm256_shuffle_ps::<0x44>(pairs[5], pairs[7]),
            _mm256_shuffle_ps::<0xEE>(pairs[5], pairs[7]),
        ];
        [
            _mm256_permute2f128_ps::<0x20>(quads[0], quads[4]),
            _mm256_permute2f128_ps::<0x20>(quads[1], quads[5]),
            _mm256_permute2f128_ps::<0x20>(quads[2], quads[6]),
            _mm256_permute2f128_ps::<0x20>(quads[3], quads[7]),
            _mm256_permute2f128_ps::<0x31>(quads[0], quads[4]),
            _mm256_permute2f128_ps::<0x31>(quads[1], quads[5]),
            _mm256_permute2f128_ps::<0x31>(quads[2], quads[6]),
            _mm256_permute2f128_ps::<0x31>(quads[3], quads[7]),
        ]
    }
}

impl Sealed for Avx2 {}

impl Isa for Avx2 {
    const NAME: &'static str = "avx2";
    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;
    type F32 = __m256;
    type Mask = __m256;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        #[inline(never)]
        fn with_features<K: Kernel>(isa: Avx2, kernel: K) -> K::Output {
            kernel.eval(isa)
        }
        // SAFETY: a value of this type exists only where the CPU has the features.
        unsafe { with_features(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        op!(_mm256_set1_ps(x))
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_div_ps(a, b))
    }

    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        op!(_mm256_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_min_ps(a, b))
    }

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_max_ps(a, b))
    }

    #[inline(always)]
    fn neg(self, a: __m256) -> __m256 {
        op!(_mm256_xor_ps(a, _mm256_set1_ps(-0.0)))
    }

    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        op!(_mm256_andnot_ps(_mm256_set1_ps(-0.0), a))
    }

    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        op!(_mm256_sqrt_ps(a))
    }

    #[inline(always)]
    fn round_even(self, a: __m256) -> __m256 {
        op!(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }

    #[inline(always)]
    fn scale_exponent(self, a: __m256, n: __m256) -> __m256 {
        op!({
            let exponent = _mm256_slli_epi32::<23>(_mm256_cvtps_epi32(n));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), exponent))
        })
    }

    #[inline(always)]
    fn lt(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_cmp_ps::<_CMP_LT_OQ>(a, b))
    }

    #[inline(always)]
    fn select(self, mask: __m256, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_blendv_ps(b, a, mask))
    }

    #[inline(always)]
    fn reduce_add(self, a: __m256) -> f32 {
        op!({
            let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)))
        })
    }

    #[inline(always)]
    fn reduce_max(self, a: __m256) -> f32 {
        op!({
            let a = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)))
        })
    }

    #[inline(always)]
    fn round_bf16(self, a: __m256) -> __m256 {
        op!(_mm256_castsi256_ps(_mm256_and_si256(self.bf16_words(a), _mm256_set1_epi32(-0x1_0000))))
    }

    #[inline(always)]
    unsafe fn load_ptr(self, at: *const f32) -> __m256 {
        // SAFETY: by the contract of the method; the load has no alignment.
        unsafe { _mm256_loadu_ps(at) }
    }

    #[inline(always)]
    unsafe fn store_ptr(self, at: *mut f32, a: __m256) {
        // SAFETY: by the contract of the method; the store has no alignment.
        unsafe { _mm256_storeu_ps(at, a) }
    }

    #[inline(always)]
    unsafe fn load_bf16_ptr(self, at: *const u8) -> __m256 {
        // SAFETY: by the contract of the method; the load has no alignment.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast())))) }
    }

    #[inline(always)]
    unsafe fn load_f16_ptr(self, at: *const u8) -> __m256 {
        // SAFETY: by the contract of the method; the load has no alignment.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(at.cast())) }
    }

    #[inline(always)]
    unsafe fn store_bf16_ptr(self, at: *mut u16, a: __m256) {
        // SAFETY: by the contract of the method; the store has no alignment.
        unsafe {
            let words = _mm256_srli_epi32::<16>(self.bf16_words(a));
            let packed = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(at.cast(), packed);
        }
    }

    #[inline(always)]
    unsafe fn store_f16_ptr(self, at: *mut u16, a: __m256) {
        // SAFETY: by the contract of the method; the store has no alignment.
        unsafe { _mm_storeu_si128(at.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a)) }
    }

    #[inline(always)]
    fn load_partial(self, from: &[f32]) -> __m256 {
        // The masked forms cost more, the store many times more.
        if from.len() >= 8 {
            return self.load(from);
        }
        // SAFETY: only lanes below the length are read.
        unsafe { _mm256_maskload_ps(from.as_ptr(), lower(from.len())) }
    }

    #[inline(always)]
    fn store_partial(self, to: &mut [f32], a: __m256) {
        if to.len() >= 8 {
            return self.store(to, a);
        }
        // SAFETY: only lanes below the length are written.
        unsafe { _mm256_maskstore_ps(to.as_mut_ptr(), lower(to.len()), a) }
    }

    #[inline(always)]
    unsafe fn transpose_ptr<E: Element>(self, from: *const u8, pitch: usize, to: *mut f32, width: usize) {
        // SAFETY: by the contract of the method.
        unsafe {
            let mut rows = [self.zero(); 8];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = E::load_ptr(self, from.add(i * pitch));
            }
            for (i, column) in transpose(rows).into_iter().enumerate() {
                self.store_ptr(to.add(i * width), column);
            }
        }
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        // SAFETY: a prefetch of any address is defined.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
