//! Launches of `kernel.cu`.

use bytemuck::{Pod, Zeroable};

use crate::cuda::{Call, Step, element_wise};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct AddParams {
    a: u64,
    c: u64,
    y: u64,
    lens: u64,
    rows: i64,
    l: i64,
    d: i64,
}

/// One launch; `y` may be `a` or `c`.
pub fn launches(call: &Call) -> Vec<Step> {
    let ([a, c, lens], [y]) = (call.inputs, call.outputs) else { panic!("operands of add") };
    let (rows, l, d) = (call.rows() as i64, call.sizes.l as i64, call.sizes.d as i64);
    let params = AddParams { a: a.address, c: c.address, y: y.address, lens: lens.address, rows, l, d };
    element_wise(call, ("add", ["add_x1", "add_x4"]), call.sizes.d, &[a, c, y], params)
}
