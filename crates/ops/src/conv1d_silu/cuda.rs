//! Launches of `kernel.cu`.

use bytemuck::{Pod, Zeroable};

use statespace_plan::DType;

use crate::cuda::{Call, Launch, Params, Step, stored};

/// As in `kernel.cu`.
const THREADS: usize = 128;

/// Steps of a tile, where there is more than one. A tile reads w − 1 samples of the one before it again.
const TILE: usize = 32;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Conv1dSiluParams {
    x: u64,
    weight: u64,
    bias: u64,
    state: u64,
    lens: u64,
    y: u64,
    ld_x: i64,
    b: i64,
    l: i64,
    e: i64,
    w: i64,
    tile: u32,
    tiles: u32,
    channel_blocks: u32,
    x_type: u32,
    y_type: u32,
    unused: u32,
}

/// One launch where one tile is the whole sequence, as when generating; else two. x and y may be of any stored type.
pub fn launches(call: &Call) -> Vec<Step> {
    let ([x, weight, bias, state, lens], [y]) = (call.inputs, call.outputs) else { panic!("operands of conv1d_silu") };
    let sizes = call.sizes;
    if call.rows() * sizes.e == 0 {
        return Vec::new();
    }
    // Four channels a thread, where all of it lies so that they are loaded at once.
    let vector = sizes.w == 4 && sizes.e.is_multiple_of(4) && [x, weight, bias, state, y].iter().all(|operand| operand.is_aligned(4));
    let (kernel, channels) = match (x.dtype, y.dtype) {
        (DType::F32, DType::F32) if vector => ("conv1d_silu_w4_f32", 4),
        (DType::Bf16, DType::Bf16) if vector => ("conv1d_silu_w4_bf16", 4),
        _ if sizes.w == 4 => ("conv1d_silu_w4", 1),
        _ => ("conv1d_silu_any", 1),
    };
    let (blocks, tiles) = (sizes.e.div_ceil(THREADS * channels), sizes.l.div_ceil(TILE));
    let params = Conv1dSiluParams {
        x: x.address,
        weight: weight.address,
        bias: bias.address,
        state: state.address,
        lens: lens.address,
        y: y.address,
        ld_x: x.ld as i64,
        b: sizes.b as i64,
        l: sizes.l as i64,
        e: sizes.e as i64,
        w: sizes.w as i64,
        tile: TILE as u32,
        tiles: tiles as u32,
        channel_blocks: blocks as u32,
        x_type: stored(x.dtype),
        y_type: stored(y.dtype),
        unused: 0,
    };
    let launch = |kernel, blocks: usize, params| {
        let (grid, block) = ([blocks as u32, 1, 1], [THREADS as u32, 1, 1]);
        Step::Launch(Launch { module: "conv1d_silu", kernel, grid, block, shared: 0, together: false, params: Params::new(params) })
    };
    let mut steps = vec![launch(kernel, blocks * tiles * sizes.b, params)];
    if tiles > 1 && sizes.w > 1 {
        let blocks = sizes.e.div_ceil(THREADS);
        steps.push(launch("conv1d_silu_shift", blocks * sizes.b, Conv1dSiluParams { channel_blocks: blocks as u32, ..params }));
    }
    steps
}
