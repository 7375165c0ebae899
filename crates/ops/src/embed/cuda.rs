//! Launches of `kernel.cu`.

use bytemuck::{Pod, Zeroable};

use crate::cuda::{Call, Launch, Params, Step, row_grid, stored};

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
    let (rows, sizes) = (call.rows(), call.sizes);
    if rows * sizes.d == 0 {
        return Vec::new();
    }
    let vector = sizes.d.is_multiple_of(4) && weight.is_aligned(4) && y.is_aligned(4);
    let (grid, block) = row_grid(rows, sizes.d, if vector { 4 } else { 1 });
    let params = Params::new(EmbedParams {
        tokens: tokens.address,
        weight: weight.address,
        y: y.address,
        lens: lens.address,
        fault: call.fault,
        rows: rows as i64,
        l: sizes.l as i64,
        d: sizes.d as i64,
        v: sizes.v as i64,
        ld: weight.ld as i64,
        dtype: stored(weight.dtype),
        node: call.node,
    });
    let kernel = if vector { "embed_x4" } else { "embed_x1" };
    vec![Step::Launch(Launch { module: "embed", kernel, grid, block, shared: 0, params })]
}
