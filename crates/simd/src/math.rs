//! Elementary functions of a vector.
//!
//! Errors are in units in the last place (ulp) of the correctly rounded result, the largest over all instruction sets in the tests below.
//! Results below the normal range are flushed to zero. NaN gives NaN.

use crate::Isa;

/// eˣ, within 1 ulp: 0 below −87.33, ∞ above 88.72.
///
/// x = n·ln 2 + r with |r| ≤ ½ ln 2; eˣ = 2ⁿ·(1 + r + r²·q(r)), q of degree 4, fitted to a relative error of 2⁻²⁸.
#[inline(always)]
pub fn exp<I: Isa>(isa: I, x: I::F32) -> I::F32 {
    let n = isa.round_even(isa.mul(x, isa.splat(core::f32::consts::LOG2_E)));
    // ln 2 in two pieces: the upper has nine bits, so that its product with n is exact.
    let r = isa.fma(n, isa.splat(-0.693_359_4), x);
    let r = isa.fma(n, isa.splat(2.121_944_4e-4), r);
    let q = horner(isa, r, [0.001_381_458, 0.008_368_726, 0.041_668_39, 0.166_665_21, 0.499_999_94]);
    let p = isa.add(isa.fma(isa.mul(r, r), q, r), isa.splat(1.0));
    let y = isa.scale_exponent(p, n);
    let y = isa.select(isa.lt(x, isa.splat(-87.336_54)), isa.zero(), y);
    isa.select(isa.lt(isa.splat(88.722_83), x), isa.splat(f32::INFINITY), y)
}

/// ln(1 + u) for 0 ≤ u ≤ 1, within 2 ulp.
///
/// With s = u / (2 + u) it is 2·artanh s = 2s·(1 + s²·q(s²)), q of degree 3, fitted to a relative error of 2⁻²⁷.
#[inline(always)]
pub fn log1p_unit<I: Isa>(isa: I, u: I::F32) -> I::F32 {
    let s = isa.div(u, isa.add(u, isa.splat(2.0)));
    let z = isa.mul(s, s);
    let q = horner(isa, z, [0.140_122_31, 0.139_995_7, 0.200_108_5, 0.333_332_06]);
    let double = isa.add(s, s);
    isa.fma(double, isa.mul(z, q), double)
}

/// ln(1 + eˣ), within 3 ulp at any x: it tends to eˣ below and is x above 17.
///
/// Computed as max(x, 0) + ln(1 + e^−|x|).
#[inline(always)]
pub fn softplus<I: Isa>(isa: I, x: I::F32) -> I::F32 {
    let tail = log1p_unit(isa, exp(isa, isa.neg(isa.abs(x))));
    let positive = isa.select(isa.lt(isa.zero(), x), x, isa.zero());
    isa.add(positive, tail)
}

/// 1 / (1 + e⁻ˣ), within 3 ulp.
#[inline(always)]
pub fn sigmoid<I: Isa>(isa: I, x: I::F32) -> I::F32 {
    isa.div(isa.splat(1.0), isa.add(isa.splat(1.0), exp(isa, isa.neg(x))))
}

/// x / (1 + e⁻ˣ), within 3 ulp. NaN at −∞, as the definition.
#[inline(always)]
pub fn silu<I: Isa>(isa: I, x: I::F32) -> I::F32 {
    isa.div(x, isa.add(isa.splat(1.0), exp(isa, isa.neg(x))))
}

/// The polynomial with these coefficients, highest power first.
#[inline(always)]
fn horner<I: Isa, const N: usize>(isa: I, x: I::F32, coefficients: [f32; N]) -> I::F32 {
    let mut sum = isa.splat(coefficients[0]);
    for c in &coefficients[1..] {
        sum = isa.fma(sum, x, isa.splat(*c));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kernel, Level};

    #[derive(Clone, Copy, Debug)]
    enum Function {
        Exp,
        Log1p,
        Softplus,
        Sigmoid,
        Silu,
    }

    struct Map<'a>(Function, &'a mut [f32]);

    impl Kernel for Map<'_> {
        type Output = ();

        #[inline(always)]
        fn eval<I: Isa>(self, isa: I) {
            for chunk in self.1.chunks_mut(I::LANES) {
                let x = isa.load_partial(chunk);
                let y = match self.0 {
                    Function::Exp => exp(isa, x),
                    Function::Log1p => log1p_unit(isa, x),
                    Function::Softplus => softplus(isa, x),
                    Function::Sigmoid => sigmoid(isa, x),
                    Function::Silu => silu(isa, x),
                };
                isa.store_partial(chunk, y);
            }
        }
    }

    fn exact(function: Function, x: f64) -> f64 {
        match function {
            Function::Exp => x.exp(),
            Function::Log1p => x.ln_1p(),
            Function::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Function::Silu => x / (1.0 + (-x).exp()),
        }
    }

    /// Distance in last places of the exact value; zero is right for what is not a normal number.
    fn ulps(got: f32, exact: f64) -> f64 {
        if exact.abs() < f64::from(f32::MIN_POSITIVE) * 1.000_01 && got == 0.0 {
            return 0.0;
        }
        let place = 2f64.powi(exact.abs().log2().floor() as i32 - 23);
        (f64::from(got) - exact).abs() / place
    }

    fn worst(level: Level, function: Function, range: core::ops::Range<f32>) -> (f64, f32) {
        const POINTS: usize = 1_000_003;
        let step = f64::from(range.end - range.start) / POINTS as f64;
        let x: Vec<f32> = (0..POINTS).map(|i| (f64::from(range.start) + step * i as f64) as f32).collect();
        let mut y = x.clone();
        level.run(Map(function, &mut y));
        let errors = x.iter().zip(&y).map(|(&x, &y)| (ulps(y, exact(function, f64::from(x))), x));
        errors.fold((0.0, 0.0), |worst, error| if error.0 > worst.0 || error.0.is_nan() { error } else { worst })
    }

    #[test]
    fn errors_are_as_documented() {
        for level in Level::available() {
            for (function, range, bound) in [
                (Function::Exp, -90.0..88.722, 1.0),
                (Function::Exp, -1.0..1.0, 1.0),
                (Function::Log1p, 0.0..1.0, 2.0),
                (Function::Log1p, 0.0..1e-6, 2.0),
                (Function::Softplus, -87.3..90.0, 3.0),
                (Function::Softplus, -4.0..4.0, 3.0),
                (Function::Sigmoid, -87.3..90.0, 3.0),
                (Function::Silu, -87.3..90.0, 3.0),
                (Function::Silu, -1.0..1.0, 3.0),
            ] {
                let (error, x) = worst(level, function, range.clone());
                println!("{:8} {function:?} {range:?}: {error:.2} ulp at {x}", level.name());
                assert!(error <= bound, "{} {function:?}({x}) is off by {error} ulp", level.name());
            }
        }
    }

    #[test]
    fn specials() {
        const INF: f32 = f32::INFINITY;
        for level in Level::available() {
            let at = |function, x| {
                let mut y = [x];
                level.run(Map(function, &mut y));
                y[0]
            };
            for function in [Function::Exp, Function::Softplus, Function::Sigmoid, Function::Silu] {
                assert!(at(function, f32::NAN).is_nan(), "{} {function:?}", level.name());
            }
            assert_eq!([0.0, -0.0, -88.0, -INF, 89.0, INF].map(|x| at(Function::Exp, x)), [1.0, 1.0, 0.0, 0.0, INF, INF]);
            assert_eq!([-INF, -100.0, 25.0, 3e38, INF].map(|x| at(Function::Softplus, x)), [0.0, 0.0, 25.0, 3e38, INF]);
            assert_eq!([-INF, -100.0, 0.0, 25.0, INF].map(|x| at(Function::Sigmoid, x)), [0.0, 0.0, 0.5, 1.0, 1.0]);
            assert_eq!([-100.0, 0.0, 25.0, INF].map(|x| at(Function::Silu, x)), [0.0, 0.0, 25.0, INF]);
        }
    }

    #[test]
    fn softplus_keeps_its_small_values() {
        for level in Level::available() {
            let mut y = [-17.0];
            level.run(Map(Function::Softplus, &mut y));
            assert!((f64::from(y[0]) / 4.139_937_633_1e-8 - 1.0).abs() < 1e-6, "{} {}", level.name(), y[0]);
        }
    }
}
