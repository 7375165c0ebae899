//! Launches of `kernel.cu`.

use bytemuck::{Pod, Zeroable};

use crate::cuda::{Call, Launch, Params, Step};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct SumRowsParams {
    x: u64,
    acc: u64,
    lens: u64,
    b: i64,
    l: i64,
    d: i64,
}

/// One launch.
pub fn launches(call: &Call) -> Vec<Step> {
    let [x, acc, lens] = call.inputs else { panic!("operands of sum_rows") };
    let (b, l, d) = (call.sizes.b, call.sizes.l, call.sizes.d);
    if b * l * d == 0 {
        return Vec::new();
    }
    let (x, acc, lens) = (x.address, acc.address, lens.address);
    let params = Params::new(SumRowsParams { x, acc, lens, b: b as i64, l: l as i64, d: d as i64 });
    let (grid, block) = ([(b * d).div_ceil(128).min(1 << 24) as u32, 1, 1], [128, 1, 1]);
    vec![Step::Launch(Launch { module: "sum_rows", kernel: "sum_rows", grid, block, shared: 0, together: false, params })]
}
