//! Launches of `kernel.cu`.

use bytemuck::{Pod, Zeroable};

use crate::cuda::{Call, Launch, Params, Step, row_grid, stored};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct CastParams {
    x: u64,
    y: u64,
    lens: u64,
    rows: i64,
    l: i64,
    d: i64,
    ld: i64,
    from: u32,
    to: u32,
}

/// One launch. The type that is cast to is that of the output.
pub fn launches(call: &Call) -> Vec<Step> {
    let ([x, lens], [y]) = (call.inputs, call.outputs) else { panic!("operands of cast") };
    let (rows, d) = (call.rows(), call.sizes.d);
    if rows * d == 0 {
        return Vec::new();
    }
    let vector = d.is_multiple_of(4) && x.is_aligned(4) && y.is_aligned(4);
    let (grid, block) = row_grid(rows, d, if vector { 4 } else { 1 });
    let params = Params::new(CastParams {
        x: x.address,
        y: y.address,
        lens: lens.address,
        rows: rows as i64,
        l: call.sizes.l as i64,
        d: d as i64,
        ld: x.ld as i64,
        from: stored(x.dtype),
        to: stored(y.dtype),
    });
    let kernel = if vector { "cast_x4" } else { "cast_x1" };
    vec![Step::Launch(Launch { module: "cast", kernel, grid, block, shared: 0, params })]
}
