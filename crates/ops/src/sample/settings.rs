//! What a row of `sampler` says, and the parts of a choice that reference and kernel share.

use crate::philox;

/// One row of `sampler`, named.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub temperature: f64,
    /// 0: off.
    pub top_k: usize,
    pub top_p: f64,
    pub min_p: f64,
    pub penalty: f64,
    /// False: the first maximum.
    pub sampling: bool,
    /// eos ids are not chosen while the counter is below this.
    pub min_counter: f64,
}

impl Settings {
    pub fn new(row: impl Fn(usize) -> f64) -> Self {
        let temperature = row(0);
        Self {
            temperature,
            top_k: row(1) as usize,
            top_p: row(2),
            min_p: row(3),
            penalty: row(4),
            // A temperature of 0 is the limit of ever colder sampling: the maximum.
            sampling: row(5) != 0.0 && temperature > 0.0,
            min_counter: row(6),
        }
    }

    /// True when the scores are the logits and the first maximum is chosen.
    pub fn is_plain(&self, rng: [u32; 4]) -> bool {
        !self.sampling && self.penalty == 1.0 && counter(rng) as f64 >= self.min_counter
    }

    /// Applies the processors and the temperature, in place: all that is done to a score before any is dropped.
    pub fn adjust(&self, scores: &mut [f64], seen: &[u8], eos: &[i32], counter: u64) {
        if self.penalty != 1.0 {
            for (byte, &bits) in seen.iter().enumerate() {
                let mut left = bits;
                while left != 0 {
                    let id = byte * 8 + left.trailing_zeros() as usize;
                    left &= left - 1;
                    if let Some(score) = scores.get_mut(id) {
                        *score = if *score < 0.0 { *score * self.penalty } else { *score / self.penalty };
                    }
                }
            }
        }
        if (counter as f64) < self.min_counter {
            for &id in eos {
                if let Some(score) = usize::try_from(id).ok().and_then(|id| scores.get_mut(id)) {
                    *score = f64::NEG_INFINITY;
                }
            }
        }
        if self.sampling && self.temperature != 1.0 {
            scores.iter_mut().for_each(|score| *score /= self.temperature);
        }
    }
}

/// Index of the first maximum.
pub(super) fn first_max(scores: &[f64]) -> usize {
    let mut best = 0;
    for (i, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = i;
        }
    }
    best
}

/// Inverse CDF over `weights` in their order, at the point that `rng` names: the first whose cumulative weight exceeds it.
pub(super) fn draw(weights: &[f64], rng: [u32; 4]) -> usize {
    let point = philox::uniform(philox::philox4x32([rng[0], rng[1]], [rng[2], rng[3], 0, 0])) * weights.iter().sum::<f64>();
    let mut cumulative = 0.0;
    let mut last = 0;
    for (i, &weight) in weights.iter().enumerate() {
        if weight > 0.0 {
            last = i;
            cumulative += weight;
            if cumulative > point {
                break;
            }
        }
    }
    last
}

/// The draw counter of an `rng` row.
pub(super) fn counter(rng: [u32; 4]) -> u64 {
    u64::from(rng[3]) << 32 | u64::from(rng[2])
}

/// `rng` with its counter one on.
pub(super) fn bump(rng: [u32; 4]) -> [u32; 4] {
    let next = counter(rng).wrapping_add(1);
    [rng[0], rng[1], next as u32, (next >> 32) as u32]
}
