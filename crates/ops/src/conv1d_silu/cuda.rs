//! Launches of `kernel.cu`.

use bytemuck::{Pod, Zeroable};

use crate::cuda::{Call, Launch, Params, Step};

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
    tile: i64,
    tiles: i64,
    channel_blocks: i64,
}

/// One launch where one tile is the whole sequence, as when generating; else two.
pub fn launches(call: &Call) -> Vec<Step> {
    let ([x, weight, bias, state, lens], [y]) = (call.inputs, call.outputs) else { panic!("operands of conv1d_silu") };
    let sizes = call.sizes;
    if call.rows() * sizes.e == 0 {
        return Vec::new();
    }
    let (blocks, tiles) = (sizes.e.div_ceil(THREADS), sizes.l.div_ceil(TILE));
    let params = Params::new(Conv1dSiluParams {
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
        tile: TILE as i64,
        tiles: tiles as i64,
        channel_blocks: blocks as i64,
    });
    let launch = |kernel, blocks: usize| {
        let (grid, block) = ([blocks as u32, 1, 1], [THREADS as u32, 1, 1]);
        Step::Launch(Launch { module: "conv1d_silu", kernel, grid, block, shared: 0, params: params.clone() })
    };
    let mut steps = vec![launch(if sizes.w == 4 { "conv1d_silu_w4" } else { "conv1d_silu_any" }, blocks * tiles * sizes.b)];
    if tiles > 1 && sizes.w > 1 {
        steps.push(launch("conv1d_silu_shift", blocks * sizes.b));
    }
    steps
}
