//! Every operation of every instruction set that this CPU has, against plain arithmetic; odd lengths and offsets.

use crate::{Bf16, Bf16Pair, Element, F16, F32, F32AsBf16, F32Pair, Isa, Kernel, Level, MAX_LANES, tile};

/// Each test and its name; it panics where it fails.
pub const ALL: [(&str, fn()); 6] = [
    ("operations_are_exact", operations_are_exact),
    ("tails_stay_within_their_slices", tails_stay_within_their_slices),
    ("sixteen_bits_round_to_nearest_even", sixteen_bits_round_to_nearest_even),
    ("pairs_round_and_multiply", pairs_round_and_multiply),
    ("all_sixteen_bit_numbers_widen_exactly", all_sixteen_bit_numbers_widen_exactly),
    ("panels_are_the_transpose", panels_are_the_transpose),
];

const VALUES: [f32; 16] = [0.0, -0.0, 1.0, -1.5, 2.5, 3.5, -0.5, 1e-3, 7.25e5, -3.0e-20, 1e20, 0.75, -2.5, 9.0, 123.456, -4.0];

/// A value of each kind that rounding to 16 bits must get right: ties, carries, subnormals, overflow, the specials.
fn awkward() -> Vec<f32> {
    let mut values = vec![f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 65504.0, 65519.0, 65520.0, 1e9, -1e9];
    values.extend([6e-8, 2.9e-8, 3e-8, 6.1e-5, 5.96e-8, 1e-40]);
    values.extend((0..4000u32).map(|i| f32::from_bits(i.wrapping_mul(0x0101_4077))));
    values.extend((0..2000u32).map(|i| f32::from_bits(0x3F80_0000 + i * 0x1000)));
    values.extend((0..2000u32).map(|i| f32::from_bits(0x3380_0000 + i * 0x8000)));
    values
}

/// The nearest of all 65 536 numbers that 16 bits encode, ties to the even encoding.
fn nearest(widen: impl Fn(u16) -> f64, limit: f64, infinity: u16, x: f32) -> u16 {
    let sign = if x.is_sign_negative() { 0x8000 } else { 0 };
    let magnitude = f64::from(x.abs());
    if magnitude >= limit {
        return sign | infinity;
    }
    // Encodings are in the order of their magnitudes.
    let (mut low, mut high) = (0u16, infinity);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if widen(middle) <= magnitude { low = middle } else { high = middle }
    }
    let above = if high == infinity { limit * 2.0 - widen(low) } else { widen(high) };
    let (below, above) = (magnitude - widen(low), above - magnitude);
    sign | if above < below || (above == below && low % 2 == 1) { high } else { low }
}

fn bf16(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) << 16))
}

fn f16(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1F), f64::from(bits & 0x3FF));
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    };
    if bits & 0x8000 > 0 { -magnitude } else { magnitude }
}

struct Lanes;

impl Kernel for Lanes {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let b: Vec<f32> = VALUES.iter().rev().copied().collect();
        let c: Vec<f32> = VALUES.iter().map(|x| x * 0.5 + 1.0).collect();
        let (va, vb, vc) = (isa.load(&VALUES), isa.load(&b), isa.load(&c));
        let same = |what: &str, got: I::F32, expected: fn(f32, f32, f32) -> f32| {
            let mut lanes = [0.0; MAX_LANES];
            isa.store(&mut lanes, got);
            for i in 0..I::LANES {
                let expected = expected(VALUES[i], b[i], c[i]);
                assert_eq!(lanes[i].to_bits(), expected.to_bits(), "{} {what}, lane {i}: {} is not {expected}", I::NAME, lanes[i]);
            }
        };
        same("splat", isa.splat(3.25), |_, _, _| 3.25);
        same("zero", isa.zero(), |_, _, _| 0.0);
        same("add", isa.add(va, vb), |a, b, _| a + b);
        same("sub", isa.sub(va, vb), |a, b, _| a - b);
        same("mul", isa.mul(va, vb), |a, b, _| a * b);
        same("div", isa.div(va, vc), |a, _, c| a / c);
        same("min", isa.min(va, vc), |a, _, c| a.min(c));
        same("max", isa.max(va, vc), |a, _, c| a.max(c));
        same("neg", isa.neg(va), |a, _, _| -a);
        same("abs", isa.abs(va), |a, _, _| a.abs());
        same("sqrt", isa.sqrt(isa.abs(va)), |a, _, _| a.abs().sqrt());
        same("select", isa.select(isa.lt(va, vb), va, vc), |a, b, c| if a < b { a } else { c });
        same("scale_exponent", isa.scale_exponent(vc, isa.splat(-3.0)), |_, _, c| c / 8.0);
        // A product that differs from 1 by less than rounding keeps. What relaxed SIMD does is the WebAssembly engine's choice, which follows its
        // CPU: where that has no such instruction a multiply-add rounds twice, but it does so in every lane.
        let (above, below) = (isa.splat(1.0 + f32::EPSILON), isa.splat(1.0 - f32::EPSILON));
        let once = isa.reduce_max(isa.abs(isa.fma(above, below, isa.splat(-1.0)))) > 0.0;
        match I::NAME {
            "scalar" | "simd128" => assert!(!once, "{}", I::NAME),
            "relaxed-simd" => {}
            _ => assert!(once, "{}", I::NAME),
        }
        same("fma", isa.fma(va, vb, vc), if once { f32::mul_add } else { |a, b, c| a * b + c });
        // Beyond 2²² rounding is not asked for.
        let small = isa.select(isa.lt(isa.abs(va), isa.splat(4e6)), va, isa.zero());
        let expected = |a: f32, _: f32, _: f32| if a.abs() < 4e6 { a.round_ties_even() + 0.0 } else { 0.0 };
        same("round_even", isa.add(isa.round_even(small), isa.zero()), expected);

        let counted: Vec<f32> = (0..I::LANES).map(|i| i as f32 * 1.25).collect();
        assert_eq!(isa.reduce_add(isa.load(&counted)), counted.iter().sum::<f32>(), "{}", I::NAME);
        for largest in 0..I::LANES {
            let mut values = vec![-2.0; I::LANES];
            values[largest] = -1.0;
            assert_eq!(isa.reduce_max(isa.load(&values)), -1.0, "{} lane {largest}", I::NAME);
        }
        // The order of the tree: halves are added first.
        let mut tree = vec![0.0; I::LANES];
        (tree[0], tree[I::LANES / 2], tree[I::LANES / 4], tree[1]) = (1e8, -1e8, 1.0, 2.0);
        assert_eq!(isa.reduce_add(isa.load(&tree)), if I::LANES == 4 { 2.0 } else { 3.0 }, "{}", I::NAME);
    }
}

#[cfg_attr(test, test)]
fn operations_are_exact() {
    Level::available().into_iter().for_each(|level| level.run(Lanes));
}

struct Tails;

impl Kernel for Tails {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let values: Vec<f32> = (1..64).map(|i| i as f32).collect();
        for start in 0..5 {
            for n in 0..2 * I::LANES {
                let kept = n.min(I::LANES);
                let label = format!("{} {n} from {start}", I::NAME);
                let loaded = isa.load_partial(&values[start..start + n]);
                let mut lanes = [-1.0; MAX_LANES];
                isa.store(&mut lanes, loaded);
                assert_eq!(lanes[..kept], values[start..start + kept], "{label}");
                assert!(lanes[kept..I::LANES].iter().all(|&lane| lane == 0.0), "{label}");

                let mut to = vec![-1.0; 64];
                isa.store_partial(&mut to[start..start + n], isa.splat(7.0));
                assert!((0..64).all(|i| to[i] == if (start..start + kept).contains(&i) { 7.0 } else { -1.0 }), "{label}");
                let mut to = [1u16; 64];
                isa.store_bf16(&mut to[start..start + n], isa.splat(1.0));
                assert!((0..64).all(|i| to[i] == if (start..start + kept).contains(&i) { 0x3F80 } else { 1 }), "{label}");
                let mut to = [1u16; 64];
                isa.store_f16(&mut to[start..start + n], isa.splat(1.0));
                assert!((0..64).all(|i| to[i] == if (start..start + kept).contains(&i) { 0x3C00 } else { 1 }), "{label}");
            }
        }
    }
}

#[cfg_attr(test, test)]
fn tails_stay_within_their_slices() {
    Level::available().into_iter().for_each(|level| level.run(Tails));
}

struct Sixteen<'a>(&'a [f32]);

impl Kernel for Sixteen<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        for x in self.0.chunks(I::LANES) {
            let (mut as_bf16, mut as_f16, mut rounded) = (vec![0; x.len()], vec![0; x.len()], vec![0.0; x.len()]);
            let loaded = isa.load_partial(x);
            isa.store_bf16(&mut as_bf16, loaded);
            isa.store_f16(&mut as_f16, loaded);
            isa.store_partial(&mut rounded, isa.round_bf16(loaded));
            for (i, &x) in x.iter().enumerate() {
                if x.is_nan() {
                    assert!(bf16(as_bf16[i]).is_nan() && f16(as_f16[i]).is_nan() && rounded[i].is_nan(), "{} {:x}", I::NAME, x.to_bits());
                    continue;
                }
                // The halfway point above the largest number: 2¹²⁸ − 2¹¹⁹, 65 520.
                assert_eq!(as_bf16[i], nearest(bf16, 2f64.powi(128) - 2f64.powi(119), 0x7F80, x), "{} {x:e} as bf16", I::NAME);
                assert_eq!(as_f16[i], nearest(f16, 65520.0, 0x7C00, x), "{} {x:e} as f16", I::NAME);
                assert_eq!(rounded[i].to_bits(), u32::from(as_bf16[i]) << 16, "{} {x:e}", I::NAME);
            }
        }
    }
}

#[cfg_attr(test, test)]
fn sixteen_bits_round_to_nearest_even() {
    let values = awkward();
    Level::available().into_iter().for_each(|level| level.run(Sixteen(&values)));
}

struct Pairs<'a>(&'a [f32]);

impl Kernel for Pairs<'_> {
    const PAIRS: bool = true;
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        for x in self.0.chunks_exact(2 * I::LANES) {
            let mut pairs = [0.0; MAX_LANES];
            isa.store(&mut pairs, isa.pair_bf16(isa.load(x), isa.load(&x[I::LANES..])));
            for (i, &x) in x.iter().enumerate() {
                let got = (pairs[i / 2].to_bits() >> (16 * (i % 2))) as u16;
                let flushed = x.is_subnormal() && got & 0x7FFF == 0;
                let same = flushed
                    || if x.is_nan() { bf16(got).is_nan() } else { got == nearest(bf16, 2f64.powi(128) - 2f64.powi(119), 0x7F80, x) };
                assert!(same, "{} {x:e} as {got:x}", I::NAME);
            }
        }
        // Whole numbers: every order of additions gives the same bits.
        let x: Vec<f32> = (0..2 * I::LANES).map(|i| i as f32 - 9.0).collect();
        let y: Vec<f32> = (0..2 * I::LANES).map(|i| (i * i % 37) as f32).collect();
        let pair = |x: &[f32]| isa.pair_bf16(isa.load(x), isa.load(&x[I::LANES..]));
        let mut sums = [0.0; MAX_LANES];
        isa.store(&mut sums, isa.dot_bf16(pair(&x), pair(&y), isa.splat(5.0)));
        for i in 0..I::LANES {
            assert_eq!(sums[i], x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1] + 5.0, "{} lane {i}", I::NAME);
        }
    }
}

#[cfg_attr(test, test)]
fn pairs_round_and_multiply() {
    let values = awkward();
    Level::available().into_iter().for_each(|level| level.run(Pairs(&values)));
}

struct Widen<'a>(&'a [u8]);

impl Kernel for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        for (i, bytes) in self.0.chunks(2 * I::LANES).enumerate() {
            let (mut from_bf16, mut from_f16) = ([0.0; MAX_LANES], [0.0; MAX_LANES]);
            isa.store(&mut from_bf16, Bf16::load(isa, bytes));
            isa.store(&mut from_f16, F16::load(isa, bytes));
            for lane in 0..bytes.len() / 2 {
                let bits = (i * I::LANES + lane) as u16;
                let same = |got: f32, expected: f64| f64::from(got).to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan());
                assert!(same(from_bf16[lane], bf16(bits)), "{} bf16 {bits:x}", I::NAME);
                assert!(same(from_f16[lane], f16(bits)), "{} f16 {bits:x}", I::NAME);
            }
        }
    }
}

#[cfg_attr(test, test)]
fn all_sixteen_bit_numbers_widen_exactly() {
    // Off by one byte, so that no load is aligned.
    let mut bytes = vec![0];
    bytes.extend((0..=u16::MAX).flat_map(u16::to_le_bytes));
    Level::available().into_iter().for_each(|level| level.run(Widen(&bytes[1..])));
}

struct Pack<E>(E, usize);

impl<E: Element> Kernel for Pack<E> {
    const PAIRS: bool = true;
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let (width, from) = (tile::panel_width::<I>(), 3);
        // The last pair of a row is half.
        let pitch = 45 * E::BYTES - (E::COLUMNS - 1) * E::BYTES / 2;
        // Whatever floats these bytes are: small exponents, no NaN, no subnormal.
        let bytes: Vec<u8> = (0..width * pitch + 1).map(|i| ((i * 37 + i / 64 * 22) % 64) as u8 | 1).collect();
        let weight = &bytes[1..];
        for rows in [1, I::LANES - 1, I::LANES, I::LANES + 1, width] {
            let mut panel = vec![f32::NAN; self.1 * width];
            tile::pack::<I, E>(isa, weight, pitch, rows, from, &mut panel);
            for i in 0..self.1 {
                for j in 0..width {
                    let expected = if j < rows { E::widen(&weight[j * pitch..][..pitch][(from + i) * E::BYTES..]) } else { 0.0 };
                    assert_eq!(panel[i * width + j].to_bits(), expected.to_bits(), "{} {rows} rows, ({i}, {j})", I::NAME);
                }
            }
        }
    }
}

#[cfg_attr(test, test)]
fn panels_are_the_transpose() {
    for level in Level::available() {
        for columns in [1, 16, 33, 42] {
            level.run(Pack(F32, columns));
            level.run(Pack(F32AsBf16, columns));
            level.run(Pack(Bf16, columns));
            level.run(Pack(F16, columns));
            level.run(Pack(Bf16Pair, columns));
            level.run(Pack(F32Pair, columns));
        }
    }
}
