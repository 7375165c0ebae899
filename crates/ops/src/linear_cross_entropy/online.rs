//! The logarithm of a sum of exponentials, as the terms come.

use statespace_simd::{Isa, math};

/// What a row remembers of the logits that have passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Online {
    /// The largest.
    max: f32,
    /// Σ exp(logit − max).
    sum: f64,
    /// The target's, NaN until it has passed.
    target: f32,
}

impl Online {
    /// Nothing has passed.
    pub(super) const START: Self = Self { max: f32::NEG_INFINITY, sum: 0.0, target: f32::NAN };

    /// Adds the logits of ids `start..`.
    #[inline(always)]
    pub(super) fn add<I: Isa>(&mut self, isa: I, logits: &[f32], start: usize, target: i32) {
        if let Some(&logit) = usize::try_from(target).ok().and_then(|id| id.checked_sub(start)).and_then(|i| logits.get(i)) {
            self.target = logit;
        }
        let (whole, rest) = logits.split_at(logits.len() - logits.len() % I::LANES);
        let mut max = isa.splat(self.max);
        for logits in whole.chunks_exact(I::LANES) {
            max = isa.max(isa.load(logits), max);
        }
        let max = rest.iter().fold(isa.reduce_max(max), |a, &b| if b > a { b } else { a });
        let shift = isa.splat(max);
        let mut sum = isa.zero();
        for logits in whole.chunks_exact(I::LANES) {
            sum = isa.add(sum, math::exp(isa, isa.sub(isa.load(logits), shift)));
        }
        let rest: f32 = rest.iter().map(|logit| (logit - max).exp()).sum();
        self.sum = self.sum * f64::from(self.max - max).exp() + f64::from(isa.reduce_add(sum) + rest);
        self.max = max;
    }

    /// ln Σ exp(logit) − target.
    pub(super) fn nll(&self) -> f32 {
        (self.sum.ln() + f64::from(self.max) - f64::from(self.target)) as f32
    }
}
