//! Launches of `kernel.cu`.

use bytemuck::{Pod, Zeroable};

use crate::cuda::{Call, Step, element_wise};

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
    let (rows, l, d) = (call.rows() as i64, call.sizes.l as i64, call.sizes.d as i64);
    let params = SoftplusParams { x: x.address, y: y.address, lens: lens.address, rows, l, d, ld: x.ld as i64 };
    element_wise(call, ("softplus", ["softplus_x1", "softplus_x4"]), call.sizes.d, &[x, y], params)
}
