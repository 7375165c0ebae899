//! Launches of `kernel.cu`.

use bytemuck::{Pod, Zeroable};
use statespace_plan::ops::SampleAttrs;

use crate::cuda::{Call, Params, Step, launch_1d};

/// The most threads of a block, as in `kernel.cu`, and the fewest.
const THREADS: usize = 1024;
const LEAST_THREADS: usize = 128;
/// Logits of a block that looks at a share of a row, its threads where there are many, and bytes of what it leaves; as in `share.cuh`.
const SHARE: usize = 4096;
const SHARE_THREADS: usize = 256;
const SHARE_BYTES: usize = 24;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct SampleParams {
    logits: u64,
    tokens: u64,
    lens: u64,
    rng: u64,
    sampler: u64,
    eos: u64,
    seen: u64,
    token: u64,
    logprob: u64,
    step: u64,
    shares: u64,
    b: i64,
    v: i64,
    vocab: i64,
    steps: i64,
    eos_count: i64,
    share_count: i64,
    ticks: u32,
    unused: u32,
}

/// Blocks that share a row.
fn shares(call: &Call, attrs: &SampleAttrs) -> usize {
    vocab(call, attrs).div_ceil(SHARE)
}

fn vocab(call: &Call, attrs: &SampleAttrs) -> usize {
    if attrs.vocab == 0 { call.sizes.v } else { attrs.vocab as usize }
}

/// Bytes of scratch: what is found in each share.
pub fn scratch_bytes(call: &Call, attrs: &SampleAttrs) -> u64 {
    (call.sizes.b * shares(call, attrs) * SHARE_BYTES).next_multiple_of(256) as u64
}

/// Two launches, by shares of a row and by rows; one where there is one row.
pub fn launches(call: &Call, attrs: &SampleAttrs) -> Vec<Step> {
    let ([logits, tokens, lens, rng, sampler, eos, seen], [token, logprob]) = (call.inputs, call.outputs) else {
        panic!("operands of sample")
    };
    let sizes = call.sizes;
    if sizes.b == 0 {
        return Vec::new();
    }
    // A smaller block waits less at its barriers.
    let threads = (sizes.v / 16).next_power_of_two().clamp(LEAST_THREADS, THREADS);
    let params = Params::new(SampleParams {
        logits: logits.address,
        tokens: tokens.address,
        lens: lens.address,
        rng: rng.address,
        sampler: sampler.address,
        eos: eos.address,
        seen: seen.address,
        token: token.address,
        logprob: logprob.address,
        step: call.step,
        shares: call.scratch,
        b: sizes.b as i64,
        v: sizes.v as i64,
        vocab: vocab(call, attrs) as i64,
        steps: attrs.steps.into(),
        eos_count: sizes.k as i64,
        share_count: shares(call, attrs) as i64,
        ticks: call.ticks.into(),
        unused: 0,
    });
    let launch = |kernel, blocks, threads| launch_1d("sample", kernel, [blocks, threads, 0], params.clone());
    if sizes.b == 1 {
        return vec![launch("sample_one", shares(call, attrs), THREADS)];
    }
    vec![launch("sample_share", sizes.b * shares(call, attrs), SHARE_THREADS), launch("sample", sizes.b, threads)]
}
