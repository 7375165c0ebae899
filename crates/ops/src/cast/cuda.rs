//! Launches of `kernel.cu`.

use bytemuck::{Pod, Zeroable};

use crate::cuda::{Call, Step, element_wise, stored};

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
    let params = CastParams {
        x: x.address,
        y: y.address,
        lens: lens.address,
        rows: call.rows() as i64,
        l: call.sizes.l as i64,
        d: call.sizes.d as i64,
        ld: x.ld as i64,
        from: stored(x.dtype),
        to: stored(y.dtype),
    };
    element_wise(call, ("cast", ["cast_x1", "cast_x4"]), call.sizes.d, &[x, y], params)
}
