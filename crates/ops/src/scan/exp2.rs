//! 2^p for the decay of a state.

use statespace_simd::Isa;

/// Least and largest exponents for which [`exp2`] is exact to its bound: results are normal numbers.
pub(super) const LIMIT: f32 = 126.0;

/// 2^p for |p| ≤ [`LIMIT`], to 1.0 ulp.
///
/// p = k + r with |r| ≤ ½; 2^r is 1 + r·q(r), a minimax fit of degree 6 (relative error 2.6e-9). The leading 1 is exact, so a slow mode's
/// decay, where r is small, has no error but its rounding.
#[inline(always)]
pub(super) fn exp2<I: Isa>(isa: I, p: I::F32) -> I::F32 {
    const C: [f32; 6] = [0.693_147_215, 0.240_226_528, 0.055_503_105_5, 0.009_617_692_98, 0.001_340_664_38, 0.000_155_946_77];
    let k = isa.round_even(p);
    let r = isa.sub(p, k);
    let mut q = isa.splat(C[5]);
    for c in C[..5].iter().rev() {
        q = isa.fma(q, r, isa.splat(*c));
    }
    isa.scale_exponent(isa.fma(q, r, isa.splat(1.0)), k)
}

/// 2^p for any p: 0 below −126 (no subnormal numbers, which are slow), at most 2^126.
#[inline(always)]
pub(super) fn exp2_any<I: Isa>(isa: I, p: I::F32) -> I::F32 {
    let low = isa.splat(-LIMIT);
    let inside = isa.min(isa.max(p, low), isa.splat(LIMIT));
    isa.select(isa.lt(p, low), isa.zero(), exp2(isa, inside))
}
