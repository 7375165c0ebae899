//! Launches of `kernel.cu`.

use bytemuck::{Pod, Zeroable};
use statespace_plan::ops::SampleAttrs;

use crate::cuda::{Call, Launch, Params, Step};

/// The most threads of a block, as in `kernel.cu`, and the fewest.
const THREADS: usize = 1024;
const LEAST_THREADS: usize = 128;

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
    b: i64,
    v: i64,
    vocab: i64,
    steps: i64,
    eos_count: i64,
}

/// One launch, a block a row.
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
        b: sizes.b as i64,
        v: sizes.v as i64,
        vocab: if attrs.vocab == 0 { sizes.v as i64 } else { attrs.vocab.into() },
        steps: attrs.steps.into(),
        eos_count: sizes.k as i64,
    });
    let (grid, block) = ([sizes.b as u32, 1, 1], [threads as u32, 1, 1]);
    vec![Step::Launch(Launch { module: "sample", kernel: "sample", grid, block, shared: 0, params })]
}
