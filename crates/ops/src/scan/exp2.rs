//! 2^p for the decay of a state.

use statespace_simd::Isa;

/// Least and largest exponents for which [`exp2`] is exact to its bound: results are normal numbers.
pub(super) const LIMIT: f32 = 126.0;

/// 2^p for |p| ≤ [`LIMIT`], within 1.5 ulp (1.8e-7).
///
/// p = k + r with |r| ≤ ½; 2^r is 1 + r·q(r), a minimax fit of degree 6 (relative error 2.6e-9). The leading 1 is exact, so a slow mode's
/// decay, where r is small, has no error but its rounding: errors of a decay add up over the steps that a state is remembered.
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

#[cfg(test)]
mod tests {
    use statespace_simd::{Kernel, Level};

    use super::*;

    struct Map<'a> {
        any: bool,
        values: &'a mut [f32],
    }

    impl Kernel for Map<'_> {
        type Output = ();

        #[inline(always)]
        fn eval<I: Isa>(self, isa: I) {
            for chunk in self.values.chunks_mut(I::LANES) {
                let p = isa.load_partial(chunk);
                isa.store_partial(chunk, if self.any { exp2_any(isa, p) } else { exp2(isa, p) });
            }
        }
    }

    fn map(level: Level, any: bool, p: &[f32]) -> Vec<f32> {
        let mut values = p.to_vec();
        level.run(Map { any, values: &mut values });
        values
    }

    #[test]
    fn error_is_as_documented() {
        for (low, high) in [(-LIMIT, LIMIT), (-1.0, 1.0), (-0.01, 0.0)] {
            let p: Vec<f32> = (0..=1_000_000).map(|i| low + (high - low) * (i as f32 / 1e6)).collect();
            for level in Level::available() {
                let got = map(level, false, &p);
                assert_eq!(got, map(level, true, &p), "{}", level.name());
                let error = |(p, got): (&f32, &f32)| {
                    let exact = f64::from(*p).exp2();
                    (f64::from(*got) - exact).abs() / (exact.log2().floor().exp2() * f64::from(f32::EPSILON))
                };
                let worst = p.iter().zip(&got).map(error).fold(0.0, f64::max);
                println!("{:8} {low}..{high}: {worst:.2} ulp", level.name());
                assert!(worst <= 1.5, "{}: off by {worst} ulp", level.name());
            }
        }
    }

    #[test]
    fn ends() {
        let p = [0.0, -0.0, -126.5, -1e30, f32::NEG_INFINITY, 127.0, f32::INFINITY, -126.0];
        let largest = 126f32.exp2();
        for level in Level::available() {
            assert_eq!(map(level, true, &p), [1.0, 1.0, 0.0, 0.0, 0.0, largest, largest, f32::MIN_POSITIVE], "{}", level.name());
        }
    }
}
