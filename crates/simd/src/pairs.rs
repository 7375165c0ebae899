//! Pairs of bf16 where no instruction takes them: lane by lane, so that what is built on pairs can be tested on every CPU.

use crate::scalar::{bf16_pair, widen_bf16};
use crate::{Isa, MAX_LANES};

/// See [`Isa::pair_bf16`].
#[inline(always)]
pub(crate) fn round<I: Isa>(isa: I, a: I::F32, b: I::F32) -> I::F32 {
    let mut numbers = [0.0; 2 * MAX_LANES];
    isa.store(&mut numbers, a);
    isa.store(&mut numbers[I::LANES..], b);
    for i in 0..MAX_LANES {
        numbers[i] = bf16_pair(numbers[2 * i], numbers[2 * i + 1]);
    }
    isa.load(&numbers)
}

/// See [`Isa::dot_bf16`].
#[inline(always)]
pub(crate) fn dot<I: Isa>(isa: I, a: I::F32, b: I::F32, c: I::F32) -> I::F32 {
    let mut lanes = [[0.0; MAX_LANES]; 3];
    isa.store(&mut lanes[0], a);
    isa.store(&mut lanes[1], b);
    isa.store(&mut lanes[2], c);
    add_products(&mut lanes);
    isa.load(&lanes[2])
}

/// Not inlined: a tile has many.
#[inline(never)]
fn add_products([x, y, sums]: &mut [[f32; MAX_LANES]; 3]) {
    for ((x, y), sum) in x.iter().zip(y).zip(sums) {
        for half in [16, 0] {
            *sum += widen_bf16((x.to_bits() >> half) as u16) * widen_bf16((y.to_bits() >> half) as u16);
        }
    }
}
