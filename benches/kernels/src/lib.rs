//! The machine's own limits, measured the way the kernels use it: what a thread can read, and what it can multiply and add.

use statespace_simd::{Bf16Pair, Element, F32, Isa, Kernel, Level};
use std::hint::black_box;
use std::marker::PhantomData;
use std::time::Instant;

/// Multiply–adds per second that `threads` threads reach on independent chains in registers, in GFLOP/s (2 flops each).
pub fn fma_gflops(level: Level, threads: usize) -> f64 {
    gflops::<F32>(level, threads)
}

/// The same of bf16 pairs, where the instruction set multiplies them.
pub fn bf16_gflops(level: Level, threads: usize) -> Option<f64> {
    struct Has;
    impl Kernel for Has {
        const PAIRS: bool = true;
        type Output = bool;
        #[inline(always)]
        fn eval<I: Isa>(self, _: I) -> bool {
            I::BF16_DOT
        }
    }
    level.run(Has).then(|| gflops::<Bf16Pair>(level, threads))
}

fn gflops<E: Element>(level: Level, threads: usize) -> f64 {
    const ROUNDS: u64 = 2_000_000;
    const CHAINS: u64 = 12;
    struct Chains<E>(PhantomData<E>);
    impl<E: Element> Kernel for Chains<E> {
        const PAIRS: bool = true;
        type Output = usize;
        #[inline(always)]
        fn eval<I: Isa>(self, isa: I) -> usize {
            let mut sums = [isa.splat(black_box(0.1)); CHAINS as usize];
            let (a, b) = (isa.splat(black_box(0.999)), isa.splat(black_box(1e-3)));
            for _ in 0..ROUNDS {
                for sum in &mut sums {
                    *sum = E::fma(isa, a, b, *sum);
                }
            }
            for sum in sums {
                black_box(isa.reduce_add(sum));
            }
            I::LANES
        }
    }
    let start = Instant::now();
    let lanes = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(move || level.run(Chains::<E>(PhantomData)))).collect();
        let lanes = level.run(Chains::<E>(PhantomData));
        for other in others {
            other.join().expect("the chains do not panic");
        }
        lanes
    });
    (threads as u64 * ROUNDS * CHAINS * 2 * (E::COLUMNS * lanes) as u64) as f64 / start.elapsed().as_secs_f64() / 1e9
}

/// Bytes per second that `threads` threads read from 512 MiB, far past every cache, in GB/s.
pub fn read_gbs(level: Level, threads: usize) -> f64 {
    const FLOATS: usize = 128 << 20;
    struct Sum<'a>(&'a [f32]);
    impl Kernel for Sum<'_> {
        type Output = f32;
        #[inline(always)]
        fn eval<I: Isa>(self, isa: I) -> f32 {
            let mut sums = [isa.zero(); 8];
            for block in self.0.chunks_exact(8 * I::LANES) {
                for (sum, lane) in sums.iter_mut().zip(block.chunks_exact(I::LANES)) {
                    *sum = isa.add(*sum, isa.load(lane));
                }
            }
            sums.into_iter().map(|sum| isa.reduce_add(sum)).sum()
        }
    }
    let data = vec![1e-9_f32; FLOATS];
    let mut best = 0.0_f64;
    for _ in 0..3 {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for part in data.chunks(FLOATS.div_ceil(threads)) {
                scope.spawn(move || black_box(level.run(Sum(part))));
            }
        });
        best = best.max((4 * FLOATS) as f64 / start.elapsed().as_secs_f64() / 1e9);
    }
    best
}
