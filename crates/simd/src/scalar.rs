//! Portable code: eight lanes of plain Rust, which a compiler may turn into whatever vectors its target has. No fused multiply-add, since
//! targets without the instruction would call a library function for each lane.

use crate::Element;
use crate::isa::{Isa, sealed::Sealed};
use crate::level::Kernel;

/// The portable instruction set; every CPU has it.
#[derive(Clone, Copy, Debug)]
pub struct Scalar;

type V = [f32; 8];

#[inline(always)]
fn map(a: V, f: impl Fn(f32) -> f32) -> V {
    core::array::from_fn(|i| f(a[i]))
}

#[inline(always)]
fn zip(a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    core::array::from_fn(|i| f(a[i], b[i]))
}

/// The upper half of `x` after rounding to nearest, ties to even.
#[inline(always)]
pub(crate) fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1));
    // The carry could turn a NaN into an infinity; setting its quiet bit does not.
    (if x.is_nan() { bits | 0x40_0000 } else { rounded } >> 16) as u16
}

/// The bits of two numbers rounded to bf16, the first in the lower half.
#[inline(always)]
pub(crate) fn bf16_pair(low: f32, high: f32) -> f32 {
    f32::from_bits(u32::from(bf16_bits(low)) | u32::from(bf16_bits(high)) << 16)
}

/// The f32 with these upper bits.
#[inline(always)]
pub(crate) fn widen_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// An f16 moved into the fields of an f32 has an exponent that is 112 too small; a product with 2¹¹² repairs that, subnormals included.
#[inline(always)]
pub(crate) fn widen_f16(h: u16) -> f32 {
    let sign = u32::from(h & 0x8000) << 16;
    let magnitude = u32::from(h & 0x7FFF) << 13;
    let finite = (f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23)).to_bits();
    f32::from_bits(sign | if magnitude >= 0x1F << 23 { magnitude | 0xFF << 23 } else { finite })
}

/// Rounds to nearest, ties to even, above 65 520 to infinity.
#[inline(always)]
pub(crate) fn f16_bits(x: f32) -> u16 {
    let sign = (x.to_bits() >> 16 & 0x8000) as u16;
    let magnitude = x.to_bits() & 0x7FFF_FFFF;
    let bits = if magnitude > 0xFF << 23 {
        0x7E00 | (magnitude >> 13 & 0x1FF) as u16
    } else if magnitude >= 0x477F_F000 {
        0x7C00
    } else if magnitude < 113 << 23 {
        // Below 2⁻¹⁴ the result is a multiple of 2⁻²⁴, which is the last place of numbers near ½: the addition rounds.
        (f32::from_bits(magnitude) + 0.5).to_bits() as u16
    } else {
        ((magnitude + 0xFFF + (magnitude >> 13 & 1) - (112 << 23)) >> 13) as u16
    };
    sign | bits
}

impl Sealed for Scalar {}

impl Isa for Scalar {
    const NAME: &'static str = "scalar";
    const LANES: usize = 8;
    const TILE_ROWS: usize = 3;
    type F32 = V;
    type Mask = [bool; 8];

    #[inline(never)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.eval(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        [x; 8]
    }

    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn fma(self, a: V, b: V, c: V) -> V {
        core::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    fn min(self, a: V, b: V) -> V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn neg(self, a: V) -> V {
        map(a, |a| -a)
    }

    #[inline(always)]
    fn abs(self, a: V) -> V {
        map(a, f32::abs)
    }

    #[inline(always)]
    fn sqrt(self, a: V) -> V {
        map(a, f32::sqrt)
    }

    #[inline(always)]
    fn round_even(self, a: V) -> V {
        // Near 1.5 · 2²³ the last place is 1, so the addition rounds; the library's function is a call on a baseline x86-64.
        map(a, |a| (a + 12_582_912.0) - 12_582_912.0)
    }

    #[inline(always)]
    fn scale_exponent(self, a: V, n: V) -> V {
        // As in round_even, the sum with 1.5 · 2²³ holds n in its lowest bits.
        zip(a, n, |a, n| f32::from_bits(a.to_bits().wrapping_add((n + 12_582_912.0).to_bits() << 23)))
    }

    #[inline(always)]
    fn lt(self, a: V, b: V) -> [bool; 8] {
        core::array::from_fn(|i| a[i] < b[i])
    }

    #[inline(always)]
    fn select(self, mask: [bool; 8], a: V, b: V) -> V {
        core::array::from_fn(|i| if mask[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn reduce_add(self, a: V) -> f32 {
        let b: [f32; 4] = core::array::from_fn(|i| a[i] + a[i + 4]);
        (b[0] + b[2]) + (b[1] + b[3])
    }

    #[inline(always)]
    fn reduce_max(self, a: V) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn round_bf16(self, a: V) -> V {
        map(a, |a| widen_bf16(bf16_bits(a)))
    }

    #[inline(always)]
    unsafe fn load_ptr(self, at: *const f32) -> V {
        // SAFETY: by the contract of the method.
        unsafe { at.cast::<V>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_ptr(self, at: *mut f32, a: V) {
        // SAFETY: by the contract of the method.
        unsafe { at.cast::<V>().write_unaligned(a) }
    }

    #[inline(always)]
    unsafe fn load_bf16_ptr(self, at: *const u8) -> V {
        // SAFETY: by the contract of the method.
        let bits = unsafe { at.cast::<[u16; 8]>().read_unaligned() };
        bits.map(widen_bf16)
    }

    #[inline(always)]
    unsafe fn load_f16_ptr(self, at: *const u8) -> V {
        // SAFETY: by the contract of the method.
        let bits = unsafe { at.cast::<[u16; 8]>().read_unaligned() };
        bits.map(widen_f16)
    }

    #[inline(always)]
    unsafe fn store_bf16_ptr(self, at: *mut u16, a: V) {
        // SAFETY: by the contract of the method.
        unsafe { at.cast::<[u16; 8]>().write_unaligned(a.map(bf16_bits)) }
    }

    #[inline(always)]
    unsafe fn store_f16_ptr(self, at: *mut u16, a: V) {
        // SAFETY: by the contract of the method.
        unsafe { at.cast::<[u16; 8]>().write_unaligned(a.map(f16_bits)) }
    }

    #[inline(always)]
    unsafe fn transpose_ptr<E: Element>(self, from: *const u8, pitch: usize, to: *mut f32, width: usize) {
        for i in 0..8 {
            // SAFETY: by the contract of the method.
            unsafe {
                let row = E::load_ptr(self, from.add(i * pitch));
                for (j, x) in row.into_iter().enumerate() {
                    to.add(j * width + i).write(x);
                }
            }
        }
    }
}
