//! What an instruction set has to offer.

use crate::{Element, Kernel, pairs};

/// The most lanes any instruction set has.
pub const MAX_LANES: usize = 16;

/// The most rows a tile of any instruction set has.
pub const MAX_TILE_ROWS: usize = 12;

/// An instruction set: a token that proves that the CPU has it, with vectors of f32 and what can be done to them.
///
/// All methods are `#[inline(always)]`; see [`Kernel`](crate::Kernel) for what that asks of callers. Lane i of a vector is element i of
/// the slice it was loaded from. The unsafe half takes pointers of any alignment; the safe half checks lengths and calls it.
pub trait Isa: Copy + Send + Sync + core::fmt::Debug + sealed::Sealed + 'static {
    /// `scalar`, `avx2`, `avx512`, `avx512bf16`, `neon`, `simd128`, `relaxed-simd`.
    const NAME: &'static str;
    /// f32 lanes of a vector: 4, 8 or 16.
    const LANES: usize;
    /// Rows of x that the tile of a matrix product takes, so that its sums fill the registers; at most [`MAX_TILE_ROWS`].
    const TILE_ROWS: usize;
    /// Whether [`Self::pair_bf16`] and [`Self::dot_bf16`] are an instruction each; elsewhere they are slow, and f32 products are the way.
    const BF16_DOT: bool = false;
    /// A vector of f32.
    type F32: Copy;
    /// One truth value per lane.
    type Mask: Copy;

    /// Runs a kernel as a function of its own with the instruction set's target features: a loop called this way from several kernels, or from
    /// several instances of one, is compiled once.
    fn run<K: Kernel>(self, kernel: K) -> K::Output;

    /// `x` in all lanes.
    fn splat(self, x: f32) -> Self::F32;
    /// a + b.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// a − b.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// a · b.
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// a / b.
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// a · b + c; rounded once where the CPU has it, twice in scalar code and in `simd128`.
    fn fma(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// The smaller; unspecified when a lane is NaN.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The larger; unspecified when a lane is NaN.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// −a, also of zeros and NaN.
    fn neg(self, a: Self::F32) -> Self::F32;
    /// |a|.
    fn abs(self, a: Self::F32) -> Self::F32;
    /// √a.
    fn sqrt(self, a: Self::F32) -> Self::F32;
    /// The nearest integer, ties to even; |a| < 2²².
    fn round_even(self, a: Self::F32) -> Self::F32;
    /// a · 2ⁿ by adding to the exponent field: `n` holds integers, and a and the result are normal numbers; else unspecified.
    fn scale_exponent(self, a: Self::F32, n: Self::F32) -> Self::F32;
    /// a < b; false when either is NaN.
    fn lt(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a` where the mask is true, else `b`.
    fn select(self, mask: Self::Mask, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The sum of the lanes, as a tree that halves the vector until one lane is left.
    fn reduce_add(self, a: Self::F32) -> f32;
    /// The largest lane; unspecified when one is NaN.
    fn reduce_max(self, a: Self::F32) -> f32;
    /// Each lane rounded to the nearest bf16, ties to even, as an f32; NaN stays NaN.
    fn round_bf16(self, a: Self::F32) -> Self::F32;

    /// Rounds 2·`LANES` consecutive numbers, the first half in `a`, to the nearest bf16, ties to even: lane i holds the bits of numbers 2i (lower
    /// half) and 2i + 1, as they would lie in memory. Subnormal numbers may become zero.
    #[inline(always)]
    fn pair_bf16(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        pairs::round(self, a, b)
    }

    /// a₀·b₀ + a₁·b₁ + c of the two bf16 in each lane of `a` and `b`, as `pair_bf16` leaves them. Each product is added with a rounding of its own,
    /// in an order that belongs to the instruction set; subnormal factors and sums may become zero.
    #[inline(always)]
    fn dot_bf16(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        pairs::dot(self, a, b, c)
    }

    /// Loads `LANES` f32.
    ///
    /// # Safety
    /// `4 · LANES` bytes can be read at `at`, of any alignment.
    unsafe fn load_ptr(self, at: *const f32) -> Self::F32;
    /// Stores `LANES` f32.
    ///
    /// # Safety
    /// `4 · LANES` bytes can be written at `at`, of any alignment.
    unsafe fn store_ptr(self, at: *mut f32, a: Self::F32);
    /// Loads and widens `LANES` bf16.
    ///
    /// # Safety
    /// `2 · LANES` bytes can be read at `at`, of any alignment.
    unsafe fn load_bf16_ptr(self, at: *const u8) -> Self::F32;
    /// Loads and widens `2·LANES` bf16.
    ///
    /// # Safety
    /// `4 · LANES` bytes can be read at `at`, of any alignment.
    #[inline(always)]
    unsafe fn load_two_bf16_ptr(self, at: *const u8) -> [Self::F32; 2] {
        // SAFETY: by the contract of the method.
        unsafe { [self.load_bf16_ptr(at), self.load_bf16_ptr(at.add(2 * Self::LANES))] }
    }
    /// Loads and widens `LANES` f16.
    ///
    /// # Safety
    /// `2 · LANES` bytes can be read at `at`, of any alignment.
    unsafe fn load_f16_ptr(self, at: *const u8) -> Self::F32;
    /// Rounds to the nearest bf16, ties to even, and stores `LANES` of them.
    ///
    /// # Safety
    /// `2 · LANES` bytes can be written at `at`, of any alignment.
    unsafe fn store_bf16_ptr(self, at: *mut u16, a: Self::F32);
    /// Rounds to the nearest f16, ties to even, and stores `LANES` of them.
    ///
    /// # Safety
    /// `2 · LANES` bytes can be written at `at`, of any alignment.
    unsafe fn store_f16_ptr(self, at: *mut u16, a: Self::F32);

    /// Transposes a square of `LANES` rows: loads and widens row i at `from + i·pitch` bytes, stores column i at `to + i·width` elements.
    ///
    /// # Safety
    /// `LANES` elements can be read at each of the `LANES` rows and written at each of the `LANES` columns.
    unsafe fn transpose_ptr<E: Element>(self, from: *const u8, pitch: usize, to: *mut f32, width: usize);

    /// Asks for the cache line at `at`, which need not be readable.
    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        let _ = at;
    }

    /// Zero in all lanes.
    #[inline(always)]
    fn zero(self) -> Self::F32 {
        self.splat(0.0)
    }

    /// Loads the first `LANES` elements.
    #[inline(always)]
    fn load(self, from: &[f32]) -> Self::F32 {
        assert!(from.len() >= Self::LANES);
        // SAFETY: the length was checked.
        unsafe { self.load_ptr(from.as_ptr()) }
    }

    /// Stores into the first `LANES` elements.
    #[inline(always)]
    fn store(self, to: &mut [f32], a: Self::F32) {
        assert!(to.len() >= Self::LANES);
        // SAFETY: the length was checked.
        unsafe { self.store_ptr(to.as_mut_ptr(), a) }
    }

    /// Loads up to `LANES` elements; lanes past the end are zero.
    #[inline(always)]
    fn load_partial(self, from: &[f32]) -> Self::F32 {
        if from.len() >= Self::LANES {
            return self.load(from);
        }
        let mut padded = [0.0; MAX_LANES];
        padded[..from.len()].copy_from_slice(from);
        self.load(&padded)
    }

    /// Stores the first lanes, as many as there are elements, at most `LANES`.
    #[inline(always)]
    fn store_partial(self, to: &mut [f32], a: Self::F32) {
        if to.len() >= Self::LANES {
            return self.store(to, a);
        }
        let mut padded = [0.0; MAX_LANES];
        self.store(&mut padded, a);
        to.copy_from_slice(&padded[..to.len()]);
    }

    /// Rounds the first lanes to bf16 and stores their bits, as many as there are elements, at most `LANES`.
    #[inline(always)]
    fn store_bf16(self, to: &mut [u16], a: Self::F32) {
        if to.len() >= Self::LANES {
            // SAFETY: the length was checked.
            return unsafe { self.store_bf16_ptr(to.as_mut_ptr(), a) };
        }
        let mut padded = [0; MAX_LANES];
        // SAFETY: the array holds `MAX_LANES` elements.
        unsafe { self.store_bf16_ptr(padded.as_mut_ptr(), a) };
        to.copy_from_slice(&padded[..to.len()]);
    }

    /// Rounds the first lanes to f16 and stores their bits, as many as there are elements, at most `LANES`.
    #[inline(always)]
    fn store_f16(self, to: &mut [u16], a: Self::F32) {
        if to.len() >= Self::LANES {
            // SAFETY: the length was checked.
            return unsafe { self.store_f16_ptr(to.as_mut_ptr(), a) };
        }
        let mut padded = [0; MAX_LANES];
        // SAFETY: the array holds `MAX_LANES` elements.
        unsafe { self.store_f16_ptr(padded.as_mut_ptr(), a) };
        to.copy_from_slice(&padded[..to.len()]);
    }
}

/// Kernels rely on `LANES` and on the pointer methods, so only this crate implements [`Isa`].
pub(crate) mod sealed {
    /// See the module.
    pub trait Sealed {}
}
