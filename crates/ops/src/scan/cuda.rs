//! Launches of `kernel.cu`.

use bytemuck::{Pod, Zeroable};
use statespace_plan::DType;
use statespace_plan::ops::ScanAttrs;

use crate::cuda::{Call, Launch, Operand, Params, Step, size, stored};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ScanParams {
    u: u64,
    dt: u64,
    a: u64,
    b_matrix: u64,
    c_matrix: u64,
    d: u64,
    z: u64,
    dt_bias: u64,
    state: u64,
    lens: u64,
    y: u64,
    ld_u: i64,
    ld_dt: i64,
    ld_b: i64,
    ld_c: i64,
    ld_z: i64,
    b: i64,
    l: i64,
    e: i64,
    n: i64,
    per_group: i64,
    tiles: i64,
    groups: i64,
    softplus: u32,
    y_type: u32,
    vectors: u32,
    unused: u32,
}

/// A kernel that walks, as `kernel.cu` shapes it.
#[derive(Clone, Copy)]
struct Walk {
    /// By dtype of the activations: f32, bf16, f16.
    names: [&'static str; 3],
    /// The most states.
    n: usize,
    lanes: usize,
    channels: usize,
    steps: usize,
    /// Loaded tiles of f32, and of 16 bits.
    stages: [usize; 2],
}

macro_rules! names {
    ($kernel:literal) => {
        [concat!("scan_", $kernel, "_f32"), concat!("scan_", $kernel, "_bf16"), concat!("scan_", $kernel, "_f16")]
    };
}

/// Where batch · channels fill the GPU, and where they do not.
const WIDE: Walk = Walk { names: names!("wide"), n: 16, lanes: 2, channels: 64, steps: 32, stages: [2, 3] };
const LONG: Walk = Walk { names: names!("long"), n: 16, lanes: 8, channels: 16, steps: 64, stages: [3, 3] };
const OTHERS: [Walk; 4] = [
    Walk { names: names!("n8"), n: 8, lanes: 4, channels: 32, steps: 32, stages: [3, 3] },
    Walk { names: names!("n32"), n: 32, lanes: 8, channels: 16, steps: 32, stages: [3, 3] },
    Walk { names: names!("n64"), n: 64, lanes: 8, channels: 16, steps: 32, stages: [2, 2] },
    Walk { names: names!("n128"), n: 128, lanes: 16, channels: 16, steps: 32, stages: [2, 2] },
];

/// The kernels that keep states in memory, and the channels of their blocks: one a thread, or four where there are blocks enough of them.
const STEPS: [([&str; 3], usize); 2] = [(names!("step"), 32), (names!("step4"), 128)];

/// Threads of a walk's block that load, prepare and finish.
const HELPING: usize = 128;

impl Walk {
    /// Bytes of a block's `Shared`.
    fn shared(&self, dtype: DType) -> u32 {
        let Walk { n, channels, steps, .. } = *self;
        let loaded = (3 * channels + 2 * n) * steps * size(dtype) + 5 * steps / 4 * 16;
        let prepared = 2 * (channels + n) * (steps + 4) * size_of::<f32>();
        (self.stages[usize::from(dtype != DType::F32)] * loaded + 2 * prepared) as u32
    }

    fn blocks(&self, call: &Call, groups: usize) -> usize {
        blocks(call, groups, self.channels)
    }

    /// The one for this node, if there is one that the GPU has room for.
    fn choose(call: &Call, groups: usize, dtype: DType) -> Option<Walk> {
        // Two blocks of the wide one keep a multiprocessor busy. Below one and a half, the time that a step takes counts more.
        let is_full = 2 * WIDE.blocks(call, groups) >= 3 * call.device.multiprocessors as usize;
        let ways = [OTHERS[0], if is_full { WIDE } else { LONG }, LONG, OTHERS[1], OTHERS[2], OTHERS[3]];
        let fits = |way: &Walk| call.sizes.n <= way.n && way.shared(dtype) <= call.device.shared_per_block_optin;
        ways.into_iter().find(fits).filter(|_| call.sizes.l > 1)
    }
}

/// Blocks of so many channels, each batch row.
fn blocks(call: &Call, groups: usize, channels: usize) -> usize {
    call.sizes.b * groups * (call.sizes.e / groups).div_ceil(channels)
}

/// One launch. The activations u, dt, B, C and z are of one stored type, y of any; y may be u or dt where it is of theirs.
pub fn launches(call: &Call, attrs: &ScanAttrs) -> Vec<Step> {
    let ([u, dt, a, b, c, d, z, dt_bias, state, lens], [y]) = (call.inputs, call.outputs) else { panic!("operands of scan") };
    let (sizes, groups) = (call.sizes, attrs.groups as usize);
    if call.rows() * sizes.e == 0 {
        return Vec::new();
    }
    let per_group = sizes.e / groups;
    let walk = Walk::choose(call, groups, u.dtype);
    let whole = [u, dt, z, y, a, state].into_iter().all(|operand| operand.is_aligned(4)) && per_group.is_multiple_of(4);
    let enough = 4 * call.device.multiprocessors as usize;
    let step = STEPS[usize::from(whole && blocks(call, groups, STEPS[1].1) >= enough)];
    let channels = walk.map_or(step.1, |walk| walk.channels);
    let chunk = 16 / size(u.dtype);
    // Copies are of 16 bytes, results of four channels at most.
    let starts = groups == 1 || (per_group.is_multiple_of(chunk) && sizes.n.is_multiple_of(chunk));
    let vectors = starts && [u, dt, b, c, z].into_iter().all(|operand| operand.is_aligned(chunk)) && y.is_aligned(4);
    let address = |operand: &Operand| operand.address;
    let params = Params::new(ScanParams {
        u: address(u),
        dt: address(dt),
        a: address(a),
        b_matrix: address(b),
        c_matrix: address(c),
        d: address(d),
        z: address(z),
        dt_bias: address(dt_bias),
        state: address(state),
        lens: address(lens),
        y: address(y),
        ld_u: u.ld as i64,
        ld_dt: dt.ld as i64,
        ld_b: b.ld as i64,
        ld_c: c.ld as i64,
        ld_z: z.ld as i64,
        b: sizes.b as i64,
        l: sizes.l as i64,
        e: sizes.e as i64,
        n: sizes.n as i64,
        per_group: per_group as i64,
        tiles: per_group.div_ceil(channels) as i64,
        groups: groups as i64,
        softplus: attrs.softplus.into(),
        y_type: stored(y.dtype),
        vectors: vectors.into(),
        unused: 0,
    });
    let blocks = blocks(call, groups, channels);
    let launch = |names: [&'static str; 3], block, shared| {
        let (kernel, grid) = (names[stored(u.dtype) as usize], [blocks as u32, 1, 1]);
        vec![Step::Launch(Launch { module: "scan", kernel, grid, block, shared, together: false, params })]
    };
    match walk {
        Some(walk) => launch(walk.names, [(HELPING + walk.channels * walk.lanes) as u32, 1, 1], walk.shared(u.dtype)),
        None => {
            // Where there are blocks enough, a thread's own states are what hides latency.
            let shares = (sizes.n / if blocks < enough { 2 } else { 4 }).clamp(1, 16);
            launch(step.0, [32, shares as u32, 1], 0)
        }
    }
}
