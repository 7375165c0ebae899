//! The choice of a row, without sorting the vocabulary.
//!
//! Survivors are kept as parallel arrays, ascending by id: what is left of the scores is always a prefix.

use super::settings::{Settings, counter, draw, first_max};

/// Up to this many survivors are simply sorted.
const SORTED: usize = 1024;

/// Floats for two arrays of f64 and two of u32, and for aligning them.
pub(super) fn scratch(v: usize) -> usize {
    6 * v + 2
}

pub(super) fn choose(logits: &[f32], settings: &Settings, seen: &[u8], eos: &[i32], rng: [u32; 4], scratch: &mut [f32]) -> usize {
    let v = logits.len();
    let (_, words, _) = bytemuck::pod_align_to_mut::<f32, f64>(scratch);
    let (scores, words) = words.split_at_mut(v);
    let (weights, words) = words.split_at_mut(v);
    let (ids, order) = bytemuck::cast_slice_mut::<f64, u32>(words).split_at_mut(v);

    for (score, &logit) in scores.iter_mut().zip(logits) {
        *score = f64::from(logit);
    }
    settings.adjust(scores, seen, eos, counter(rng));
    let best = first_max(scores);
    let max = scores[best];
    if !settings.sampling || max == f64::NEG_INFINITY {
        return best;
    }
    let threshold = if settings.top_k > 0 { kth_largest(scores, settings.top_k, weights) } else { f64::NEG_INFINITY };
    let mut left = 0;
    for i in 0..v {
        if scores[i] >= threshold {
            scores[left] = scores[i];
            ids[left] = i as u32;
            left += 1;
        }
    }
    for i in 0..left {
        weights[i] = (scores[i] - max).exp();
    }
    if settings.top_p < 1.0 {
        let order = &mut order[..left];
        let start = nucleus(&scores[..left], &weights[..left], settings.top_p, order);
        let kept = &mut order[start..];
        kept.sort_unstable();
        left = kept.len();
        for (to, &from) in kept.iter().enumerate() {
            scores[to] = scores[from as usize];
            weights[to] = weights[from as usize];
            ids[to] = ids[from as usize];
        }
    }
    if settings.min_p > 0.0 {
        for i in 0..left {
            if scores[i] < max && weights[i] < settings.min_p {
                weights[i] = 0.0;
            }
        }
    }
    ids[draw(&weights[..left], rng)] as usize
}

/// The k-th largest score. `buffer` (as long as `scores`) collects scores above the k-th largest so far and is cut to k when it is full.
fn kth_largest(scores: &[f64], k: usize, buffer: &mut [f64]) -> f64 {
    let k = k.min(scores.len());
    let room = (4 * k).max(256).min(buffer.len());
    let (mut count, mut threshold) = (0, f64::NEG_INFINITY);
    for &score in scores {
        if score > threshold || count < k {
            if count == room {
                threshold = *buffer[..count].select_nth_unstable_by(k - 1, |x, y| y.total_cmp(x)).1;
                count = k;
            }
            buffer[count] = score;
            count += 1;
        }
    }
    *buffer[..count].select_nth_unstable_by(k - 1, |x, y| y.total_cmp(x)).1
}

/// Orders indices by score so that those from the returned position on are the survivors of top-p.
fn nucleus(scores: &[f64], weights: &[f64], top_p: f64, order: &mut [u32]) -> usize {
    let count = scores.len();
    for (i, index) in order.iter_mut().enumerate() {
        *index = i as u32;
    }
    let ascending = |i: &u32, j: &u32| scores[*i as usize].total_cmp(&scores[*j as usize]).then(i.cmp(j));
    let total: f64 = weights.iter().sum();
    let wanted = top_p * total;
    let mut top = SORTED / 4;
    while 4 * top < count {
        top *= 4;
        order.select_nth_unstable_by(count - top, ascending);
        let tail = &mut order[count - top..];
        if tail.iter().map(|&i| weights[i as usize]).sum::<f64>() > wanted {
            tail.sort_unstable_by(ascending);
            if let Some(start) = cut_from_above(tail, weights, wanted, total) {
                return count - top + start;
            }
            break;
        }
    }
    // Few survivors, a flat distribution, or a cut too close to call: the definition.
    order.sort_unstable_by(ascending);
    let total: f64 = order.iter().map(|&i| weights[i as usize]).sum();
    let mut cumulative = 0.0;
    for (position, &i) in order[..count - 1].iter().enumerate() {
        cumulative += weights[i as usize];
        if cumulative > (1.0 - top_p) * total {
            return position;
        }
    }
    count - 1
}

/// Where the survivors begin in `tail` (ascending): an index survives while the weight above it is below `wanted`. None when rounding could
/// decide otherwise than a sum from below.
fn cut_from_above(tail: &[u32], weights: &[f64], wanted: f64, total: f64) -> Option<usize> {
    let mut above = 0.0;
    for (position, &i) in tail.iter().enumerate().rev() {
        if (above - wanted).abs() < 1e-9 * total {
            return None;
        }
        if above > wanted {
            return Some(position + 1);
        }
        above += weights[i as usize];
    }
    None
}
