//! Launches of `kernel.cu`.

use bytemuck::{Pod, Zeroable};

use crate::cuda::{Call, Launch, Params, Step};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct TransposeParams {
    x: u64,
    y: u64,
    b: i64,
    l: i64,
    d: i64,
}

/// One launch.
pub fn launches(call: &Call) -> Vec<Step> {
    let ([x], [y]) = (call.inputs, call.outputs) else { panic!("operands of transpose") };
    let (b, l, d) = (call.sizes.b, call.sizes.l, call.sizes.d);
    if b * l * d == 0 {
        return Vec::new();
    }
    let tiles = b * l.div_ceil(32) * d.div_ceil(32);
    let params = Params::new(TransposeParams { x: x.address, y: y.address, b: b as i64, l: l as i64, d: d as i64 });
    let (grid, block) = ([tiles.min(1 << 24) as u32, 1, 1], [32, 8, 1]);
    vec![Step::Launch(Launch { module: "transpose", kernel: "transpose", grid, block, shared: 0, together: false, params })]
}
