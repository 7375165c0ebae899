//! Launches of `kernel.cu`.

use bytemuck::{Pod, Zeroable};
use statespace_plan::ops::ScanAttrs;

use crate::cuda::{Call, Launch, Params, Step, stored};

/// As in `kernel.cu`.
const CHANNELS: usize = 32;
const STEPS: usize = 16;

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
    carries: u64,
    deltas: u64,
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
    chunk: i64,
    chunks: i64,
    softplus: u32,
    y_type: u32,
}

/// The kernels that walk: the most states they hold, the threads that share a channel, and the names of carry and walk.
const WALKS: [(usize, usize, &str, &str); 5] = [
    (8, 2, "scan_carry_f32_n8", "scan_walk_f32_n8"),
    (16, 4, "scan_carry_f32_n16", "scan_walk_f32_n16"),
    (32, 8, "scan_carry_f32_n32", "scan_walk_f32_n32"),
    (64, 8, "scan_carry_f32_n64", "scan_walk_f32_n64"),
    (128, 16, "scan_carry_f32_n128", "scan_walk_f32_n128"),
];

/// Chunks are at least this long: a shorter one is not worth its launches.
const LEAST_CHUNK: usize = 64;

/// How a sequence is gone through.
struct Way {
    /// Blocks for one chunk of all channels and batch rows.
    blocks: usize,
    /// Index into [`WALKS`], none for the kernel with states in memory.
    walk: Option<usize>,
    /// Steps of a chunk.
    chunk: usize,
    chunks: usize,
}

impl Way {
    fn new(call: &Call, groups: usize) -> Way {
        let sizes = call.sizes;
        let blocks = sizes.b * groups * (sizes.e / groups).div_ceil(CHANNELS);
        let whole = Way { blocks, walk: None, chunk: sizes.l, chunks: 1 };
        let Some(walk) = WALKS.iter().position(|walk| sizes.n <= walk.0).filter(|_| sizes.l > 1) else { return whole };
        // Sixteen warps keep a multiprocessor busy. Two passes cost about twice as much as one, so that less than three chunks gain nothing.
        let wanted = call.device.multiprocessors as usize * 16 / WALKS[walk].1 / blocks.max(1);
        let chunks = wanted.min(sizes.l / LEAST_CHUNK);
        if chunks < 3 {
            return Way { walk: Some(walk), ..whole };
        }
        let chunk = sizes.l.div_ceil(chunks).next_multiple_of(STEPS);
        Way { blocks, walk: Some(walk), chunk, chunks: sizes.l.div_ceil(chunk) }
    }
}

/// Floats of the states before chunks, and of the chunks' sums.
fn carried(call: &Call, way: &Way) -> (usize, usize) {
    let rows = if way.chunks > 1 { call.sizes.b * way.chunks * call.sizes.e } else { 0 };
    (rows * call.sizes.n, rows)
}

/// Bytes of scratch.
pub fn scratch_bytes(call: &Call, attrs: &ScanAttrs) -> u64 {
    let (states, sums) = carried(call, &Way::new(call, attrs.groups as usize));
    ((states + sums) * size_of::<f32>()).next_multiple_of(256) as u64
}

/// One launch, or three where the sequence is cut into chunks. `y` may be of any stored type, whatever the inputs are; it may be `u` or `dt`
/// where it is of their type.
pub fn launches(call: &Call, attrs: &ScanAttrs) -> Vec<Step> {
    let ([u, dt, a, b, c, d, z, dt_bias, state, lens], [y]) = (call.inputs, call.outputs) else { panic!("operands of scan") };
    let (sizes, groups) = (call.sizes, attrs.groups as usize);
    if call.rows() * sizes.e == 0 {
        return Vec::new();
    }
    let way = Way::new(call, groups);
    let per_group = sizes.e / groups;
    let params = Params::new(ScanParams {
        u: u.address,
        dt: dt.address,
        a: a.address,
        b_matrix: b.address,
        c_matrix: c.address,
        d: d.address,
        z: z.address,
        dt_bias: dt_bias.address,
        state: state.address,
        lens: lens.address,
        y: y.address,
        carries: call.scratch,
        deltas: call.scratch + (carried(call, &way).0 * size_of::<f32>()) as u64,
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
        tiles: per_group.div_ceil(CHANNELS) as i64,
        groups: groups as i64,
        chunk: way.chunk as i64,
        chunks: way.chunks as i64,
        softplus: attrs.softplus.into(),
        y_type: stored(y.dtype),
    });
    let launch = |kernel, blocks: usize, block| {
        Step::Launch(Launch { module: "scan", kernel, grid: [blocks as u32, 1, 1], block, shared: 0, params: params.clone() })
    };
    let Some((_, lanes, carry, walk)) = way.walk.map(|walk| WALKS[walk]) else {
        // Where there are blocks enough, a thread's own states are what hides latency.
        let few = way.blocks < 4 * call.device.multiprocessors as usize;
        let shares = (sizes.n / if few { 2 } else { 4 }).clamp(1, 16);
        return vec![launch("scan_step_f32", way.blocks, [CHANNELS as u32, shares as u32, 1])];
    };
    let block = [(CHANNELS * lanes) as u32, 1, 1];
    let walk = launch(walk, way.blocks * way.chunks, block);
    if way.chunks == 1 {
        return vec![walk];
    }
    let states = sizes.b * sizes.n * sizes.e;
    vec![launch(carry, way.blocks * way.chunks, block), launch("scan_combine", states.div_ceil(256), [256, 1, 1]), walk]
}
