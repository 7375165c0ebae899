//! The next token of each live row, transformers' way.
//!
//! Scores are the logits after, in this order: repetition penalty over the ids in `seen` (l < 0 ? l·r : l/r), end-of-sequence ids at −∞ while
//! the counter is below `sampler[6]`, and, if sampling, temperature (l/T) · top-k (keep l ≥ the k-th largest; ties stay) · top-p (ascending by
//! score, equal ones by id: drop while the cumulative probability is ≤ 1 − p; the last stays) · min-p (drop p < min_p · max p; the largest
//! stays). A draw is the inverse CDF, in f64 and in order of ids, at Philox4x32-10(key = seed, counter); without sampling the first maximum is
//! taken, likewise when the temperature is 0 or every id is suppressed. `logprob` is of the raw logits.
//!
//! `sampler` rows are [temperature, topK (0 off), topP (≥ 1 off), minP (0 off), repetitionPenalty, doSample, minCounter, 0]; `rng` rows
//! [seed lo, seed hi, counter lo, counter hi].
//!
//! The kernel chooses by the same f64 arithmetic as the reference, so that both choose the same id; it only avoids sorting what it can.

mod choose;
#[cfg(feature = "cuda")]
pub mod cuda;
mod reference;
mod settings;

pub use reference::{Reference, State, reference};

use statespace_simd::{Isa, Kernel, Level, SharedOut, math as vector};

use crate::rows::split;
use settings::{Settings, bump};

/// In place of an id: the row has a non-finite logit; nothing of it was updated. Its logprob is 0.
pub const BAD: i32 = -1;
/// In place of an id: the row is frozen (lens 0). Its logprob is 0.
pub const FROZEN: i32 = -2;

/// Operands that are only read.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Rows.
    pub b: usize,
    /// Logits of a row.
    pub v: usize,
    /// Ids below this may be chosen; 0: all.
    pub vocab: usize,
    /// Slots of a row in the outputs.
    pub steps: usize,
    /// The slot written, below `steps`.
    pub step: usize,
    /// (b, v).
    pub logits: &'a [f32],
    /// (b, 8).
    pub sampler: &'a [f32],
    /// End-of-sequence ids; negative entries are padding.
    pub eos: &'a [i32],
}

/// What a step changes and gives; parts own rows of each.
#[derive(Debug)]
pub struct Outputs<'a> {
    /// (b): the id chosen, to be fed next.
    pub tokens: SharedOut<'a, i32>,
    /// (b): 0 freezes a row.
    pub lens: SharedOut<'a, i32>,
    /// (b, 4): seed, counter.
    pub rng: SharedOut<'a, u32>,
    /// (b, ⌈v/8⌉): bit set of ids.
    pub seen: SharedOut<'a, u8>,
    /// (b, steps).
    pub token: SharedOut<'a, i32>,
    /// (b, steps).
    pub logprob: SharedOut<'a, f32>,
}

/// Floats of scratch that each part needs.
pub fn scratch(v: usize) -> usize {
    choose::scratch(v)
}

impl Sample<'_> {
    /// One step of this part's live rows; parts split the rows. `scratch` holds at least [`scratch`]`(v)` floats.
    pub fn run(&self, level: Level, part: usize, parts: usize, mut out: Outputs, scratch: &mut [f32]) {
        for b in split(self.b, part, parts) {
            self.step(level, b, &mut out, scratch);
        }
    }

    fn step(&self, level: Level, b: usize, out: &mut Outputs, scratch: &mut [f32]) {
        let slot = b * self.steps + self.step;
        let token = &mut out.token.slice_mut(slot..slot + 1)[0];
        let logprob = &mut out.logprob.slice_mut(slot..slot + 1)[0];
        let len = &mut out.lens.slice_mut(b..b + 1)[0];
        *logprob = 0.0;
        if *len <= 0 {
            *token = FROZEN;
            return;
        }
        let logits = &self.logits[b * self.v..][..if self.vocab == 0 { self.v } else { self.vocab }];
        let Some(Stats { max, log_sum }) = level.run(Measure(logits)) else {
            *token = BAD;
            return;
        };
        let bytes = self.v.div_ceil(8);
        let seen = out.seen.slice_mut(b * bytes..(b + 1) * bytes);
        let rng = out.rng.slice_mut(b * 4..b * 4 + 4);
        let words = [rng[0], rng[1], rng[2], rng[3]];
        let settings = Settings::new(|i| f64::from(self.sampler[b * 8 + i]));
        let id = if settings.is_plain(words) {
            logits.iter().position(|&l| l == max).unwrap_or(0)
        } else {
            choose::choose(logits, &settings, seen, self.eos, words, scratch)
        };
        *token = id as i32;
        *logprob = (f64::from(logits[id]) - f64::from(max) - log_sum) as f32;
        out.tokens.slice_mut(b..b + 1)[0] = id as i32;
        seen[id / 8] |= 1 << (id % 8);
        rng.copy_from_slice(&bump(words));
        if self.eos.contains(&(id as i32)) {
            *len = 0;
        }
    }
}

/// The largest logit, and log Σ exp(l − max).
struct Stats {
    max: f32,
    log_sum: f64,
}

/// Measures a row of logits; none when one is not finite.
struct Measure<'a>(&'a [f32]);

impl Kernel for Measure<'_> {
    type Output = Option<Stats>;

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> Self::Output {
        let (body, tail) = self.0.split_at(self.0.len() / I::LANES * I::LANES);
        // A finite number times 0 is 0; anything else leaves a NaN in the sum.
        let (mut max, mut zero) = (isa.splat(f32::NEG_INFINITY), isa.zero());
        for l in body.chunks_exact(I::LANES) {
            let l = isa.load(l);
            max = isa.max(max, l);
            zero = isa.fma(l, isa.zero(), zero);
        }
        let max = tail.iter().fold(isa.reduce_max(max), |max, &l| max.max(l));
        if isa.reduce_add(zero) != 0.0 || tail.iter().any(|l| !l.is_finite()) {
            return None;
        }
        // The largest logit's own term is exactly 1. Left out of the sum, it takes no digits from the others, which are all that a logprob
        // near 0 is made of.
        let at = self.0.iter().position(|&l| l == max)?;
        let shift = isa.splat(max);
        let mut sums = [isa.zero(); 4];
        let mut rest = 0.0;
        for part in [&self.0[..at], &self.0[at + 1..]] {
            let (body, tail) = part.split_at(part.len() / I::LANES * I::LANES);
            for (i, l) in body.chunks_exact(I::LANES).enumerate() {
                sums[i % 4] = isa.add(sums[i % 4], vector::exp(isa, isa.sub(isa.load(l), shift)));
            }
            rest += tail.iter().map(|&l| f64::from(l - max).exp()).sum::<f64>();
        }
        let sum = isa.reduce_add(isa.add(isa.add(sums[0], sums[1]), isa.add(sums[2], sums[3])));
        Some(Stats { max, log_sum: (f64::from(sum) + rest).ln_1p() })
    }
}
