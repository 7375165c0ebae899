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

mod reference;
mod settings;

pub use reference::{Reference, State, reference};

/// In place of an id: the row has a non-finite logit; nothing of it was updated. Its logprob is 0.
pub const BAD: i32 = -1;
/// In place of an id: the row is frozen (lens 0). Its logprob is 0.
pub const FROZEN: i32 = -2;
