//! Sampling as it is defined: every step over the whole vocabulary, with full sorts.

use super::settings::{Settings, bump, counter, draw, first_max};
use super::{BAD, FROZEN};

/// Operands that [`reference`] only reads.
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    /// Rows.
    pub b: usize,
    /// Logits of a row.
    pub v: usize,
    /// Ids below this may be chosen; 0: all.
    pub vocab: usize,
    /// Slots of a row in the outputs.
    pub steps: usize,
    /// The slot written.
    pub step: usize,
    /// (b, v).
    pub logits: &'a [f64],
    /// (b, 8).
    pub sampler: &'a [f64],
    /// End-of-sequence ids; negative entries are padding.
    pub eos: &'a [i32],
}

/// What a step changes.
#[derive(Debug)]
pub struct State<'a> {
    /// (b): the id chosen, to be fed next.
    pub tokens: &'a mut [i32],
    /// (b): 0 freezes a row.
    pub lens: &'a mut [i32],
    /// (b, 4): seed, counter.
    pub rng: &'a mut [u32],
    /// (b, ⌈v/8⌉): bit set of ids.
    pub seen: &'a mut [u8],
}

/// One step of every live row; `token` and `logprob` are (b, steps).
pub fn reference(op: &Reference, state: State, token: &mut [i32], logprob: &mut [f64]) {
    let bytes = op.v.div_ceil(8);
    let vocab = if op.vocab == 0 { op.v } else { op.vocab };
    for b in 0..op.b {
        let slot = b * op.steps + op.step;
        let logits = &op.logits[b * op.v..][..vocab];
        if state.lens[b] <= 0 || logits.iter().any(|l| !l.is_finite()) {
            token[slot] = if state.lens[b] <= 0 { FROZEN } else { BAD };
            logprob[slot] = 0.0;
            continue;
        }
        let rng = <[u32; 4]>::try_from(&state.rng[b * 4..][..4]).expect("four words");
        let seen = &mut state.seen[b * bytes..][..bytes];
        let settings = Settings::new(|i| op.sampler[b * 8 + i]);
        let id = choose(logits, &settings, seen, op.eos, rng);

        let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|l| (l - max).exp()).sum();
        token[slot] = id as i32;
        logprob[slot] = logits[id] - max - sum.ln();
        state.tokens[b] = id as i32;
        seen[id / 8] |= 1 << (id % 8);
        state.rng[b * 4..][..4].copy_from_slice(&bump(rng));
        if op.eos.contains(&(id as i32)) {
            state.lens[b] = 0;
        }
    }
}

fn choose(logits: &[f64], settings: &Settings, seen: &[u8], eos: &[i32], rng: [u32; 4]) -> usize {
    let mut scores = logits.to_vec();
    settings.adjust(&mut scores, seen, eos, counter(rng));
    let best = first_max(&scores);
    let max = scores[best];
    if !settings.sampling || max == f64::NEG_INFINITY {
        return best;
    }
    if settings.top_k > 0 {
        let mut sorted = scores.clone();
        sorted.sort_by(|x, y| y.total_cmp(x));
        let threshold = sorted[settings.top_k.min(sorted.len()) - 1];
        drop_if(&mut scores, |score| score < threshold);
    }
    if settings.top_p < 1.0 {
        let mut ids: Vec<usize> = (0..scores.len()).collect();
        ids.sort_by(|&i, &j| scores[i].total_cmp(&scores[j]));
        let total: f64 = ids.iter().map(|&i| (scores[i] - max).exp()).sum();
        let mut cumulative = 0.0;
        for &i in &ids[..ids.len() - 1] {
            cumulative += (scores[i] - max).exp();
            if cumulative > (1.0 - settings.top_p) * total {
                break;
            }
            scores[i] = f64::NEG_INFINITY;
        }
    }
    if settings.min_p > 0.0 {
        drop_if(&mut scores, |score| score < max && (score - max).exp() < settings.min_p);
    }
    let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
    draw(&weights, rng)
}

fn drop_if(scores: &mut [f64], unwanted: impl Fn(f64) -> bool) {
    for score in scores {
        if unwanted(*score) {
            *score = f64::NEG_INFINITY;
        }
    }
}
