//! Launches of `kernel.cu`.

use bytemuck::{Pod, Zeroable};

use crate::cuda::{Call, Step, element_wise, stored};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct EmbedParams {
    tokens: u64,
    weight: u64,
    y: u64,
    lens: u64,
    fault: u64,
    rows: i64,
    l: i64,
    d: i64,
    v: i64,
    ld: i64,
    dtype: u32,
    node: u32,
}

/// One launch.
pub fn launches(call: &Call) -> Vec<Step> {
    let ([tokens, weight, lens], [y]) = (call.inputs, call.outputs) else { panic!("operands of embed") };
    let sizes = call.sizes;
    let params = EmbedParams {
        tokens: tokens.address,
        weight: weight.address,
        y: y.address,
        lens: lens.address,
        fault: call.fault,
        rows: call.rows() as i64,
        l: sizes.l as i64,
        d: sizes.d as i64,
        v: sizes.v as i64,
        ld: weight.ld as i64,
        dtype: stored(weight.dtype),
        node: call.node,
    };
    element_wise(call, ("embed", ["embed_x1", "embed_x4"]), sizes.d, &[weight, y], params)
}
