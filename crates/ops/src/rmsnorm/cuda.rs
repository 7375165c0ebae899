//! Launches of `kernel.cu`.

use bytemuck::{Pod, Zeroable};
use statespace_plan::ops::RmsnormAttrs;

use crate::cuda::{Call, Launch, Params, Step, stored};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct RmsnormParams {
    x: u64,
    weight: u64,
    y: u64,
    lens: u64,
    rows: i64,
    l: i64,
    d: i64,
    ld: i64,
    eps: f32,
    dtype: u32,
}

/// One launch; `y` may be of any stored type, and be `x` if that is f32.
pub fn launches(call: &Call, attrs: &RmsnormAttrs) -> Vec<Step> {
    let ([x, weight, lens], [y]) = (call.inputs, call.outputs) else { panic!("operands of rmsnorm") };
    let (rows, d) = (call.rows(), call.sizes.d);
    if rows * d == 0 {
        return Vec::new();
    }
    let vector = d.is_multiple_of(4) && [x, weight, y].iter().all(|operand| operand.is_aligned(4));
    // Four loads a thread on their way, where the row is long enough for that; where a multiprocessor has one row, all of it at once.
    let (width, loads) = (if vector { 4 } else { 1 }, if rows > call.device.multiprocessors as usize { 4 } else { 1 });
    let threads = d.div_ceil(width * loads).next_multiple_of(32).clamp(32, 1024) as u32;
    let params = Params::new(RmsnormParams {
        x: x.address,
        weight: weight.address,
        y: y.address,
        lens: lens.address,
        rows: rows as i64,
        l: call.sizes.l as i64,
        d: d as i64,
        ld: x.ld as i64,
        eps: attrs.eps,
        dtype: stored(y.dtype),
    });
    let (kernel, grid) = (if vector { "rmsnorm_x4" } else { "rmsnorm_x1" }, [rows.min(1 << 24) as u32, 1, 1]);
    vec![Step::Launch(Launch { module: "rmsnorm", kernel, grid, block: [threads, 1, 1], shared: 0, together: false, params })]
}
