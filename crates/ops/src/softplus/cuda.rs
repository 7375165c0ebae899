//! Launches of `kernel.cu`.

use bytemuck::{Pod, Zeroable};

use crate::cuda::{Call, Launch, Params, Step, row_grid};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct SoftplusParams {
    x: u64,
    y: u64,
    lens: u64,
    rows: i64,
    l: i64,
    d: i64,
    ld: i64,
}

/// One launch; `y` may be `x`.
pub fn launches(call: &Call) -> Vec<Step> {
    let ([x, lens], [y]) = (call.inputs, call.outputs) else { panic!("operands of softplus") };
    let (rows, d) = (call.rows(), call.sizes.d);
    if rows * d == 0 {
        return Vec::new();
    }
    let vector = d.is_multiple_of(4) && x.is_aligned(4) && y.is_aligned(4);
    let (grid, block) = row_grid(rows, d, if vector { 4 } else { 1 });
    let (x, ld, y, lens) = (x.address, x.ld as i64, y.address, lens.address);
    let params = Params::new(SoftplusParams { x, y, lens, rows: rows as i64, l: call.sizes.l as i64, d: d as i64, ld });
    let kernel = if vector { "softplus_x4" } else { "softplus_x1" };
    vec![Step::Launch(Launch { module: "softplus", kernel, grid, block, shared: 0, params })]
}
