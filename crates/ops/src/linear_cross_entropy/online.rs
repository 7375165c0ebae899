//! The logarithm of a sum of exponentials, by blocks of the terms.

use statespace_simd::{Isa, math};

/// The largest of the logits and Σ exp(logit − largest).
#[inline(always)]
pub(super) fn block<I: Isa>(isa: I, logits: &[f32]) -> [f32; 2] {
    let (whole, rest) = logits.split_at(logits.len() - logits.len() % I::LANES);
    let mut max = isa.splat(f32::NEG_INFINITY);
    for logits in whole.chunks_exact(I::LANES) {
        max = isa.max(isa.load(logits), max);
    }
    let max = rest.iter().fold(isa.reduce_max(max), |a, &b| if b > a { b } else { a });
    // Where all are −∞ their exponentials are 0, not ∞ − ∞.
    let shift = if max == f32::NEG_INFINITY { 0.0 } else { max };
    let mut sum = isa.zero();
    for logits in whole.chunks_exact(I::LANES) {
        sum = isa.add(sum, math::exp(isa, isa.sub(isa.load(logits), isa.splat(shift))));
    }
    let rest: f32 = rest.iter().map(|logit| (logit - shift).exp()).sum();
    [max, isa.reduce_add(sum) + rest]
}

/// ln Σ exp(logit), of the blocks in their order.
pub(super) fn log_sum(blocks: &[f32]) -> f64 {
    let blocks = blocks.as_chunks::<2>().0;
    let max = blocks.iter().fold(f32::NEG_INFINITY, |a, &[b, _]| if b > a { b } else { a });
    let sum: f64 = blocks.iter().map(|&[high, sum]| f64::from(sum) * f64::from(high - max).exp()).sum();
    sum.ln() + f64::from(max)
}
