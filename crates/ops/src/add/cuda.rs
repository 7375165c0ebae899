//! Launches of `kernel.cu`.

use bytemuck::{Pod, Zeroable};

use crate::cuda::{Call, Launch, Params, Step, row_grid};

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
    let (rows, d) = (call.rows(), call.sizes.d);
    if rows * d == 0 {
        return Vec::new();
    }
    let vector = [a, c, y].iter().all(|operand| operand.is_aligned(4)) && d.is_multiple_of(4);
    let (grid, block) = row_grid(rows, d, if vector { 4 } else { 1 });
    let (a, c, y, lens) = (a.address, c.address, y.address, lens.address);
    let params = Params::new(AddParams { a, c, y, lens, rows: rows as i64, l: call.sizes.l as i64, d: d as i64 });
    let kernel = if vector { "add_x4" } else { "add_x1" };
    vec![Step::Launch(Launch { module: "add", kernel, grid, block, shared: 0, params })]
}
