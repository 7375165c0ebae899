//! Nodes of one position of many sequences, taken together: launches of `kernel.cu`.
//!
//! For steps whose products are cuBLASLt's, with bf16 weights and, between nodes, bf16 values. They compute what the ops do, but for a rounding of
//! what lies between them. Each function gives none where the shapes are not for its kernel.

use bytemuck::{Pod, Zeroable};
use statespace_plan::DType;
use statespace_plan::ops::{LinearAttrs, ScanAttrs};

use crate::cuda::{Call, Operand, Params, Step, launch_1d, size, stored};
use crate::linear;

/// As in `kernel.cu`.
const THREADS: usize = 256;
const STATES: usize = 16;
const CHANNELS: usize = 128;
const ROWS: usize = 8;
const CONV_ROWS: usize = 32;
const CONV_CHANNELS: usize = 64;
const TAPS: usize = 4;
/// Of 16 × 8 sums.
const TILE_BYTES: usize = 512;
/// Columns of x_proj whose weights a block has in shared memory.
const MOST_COLUMNS: usize = 512;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct BatchScanParams {
    low: u64,
    weight: u64,
    bias: u64,
    dt_bias: u64,
    u: u64,
    b_matrix: u64,
    c_matrix: u64,
    z: u64,
    a: u64,
    d: u64,
    state: u64,
    y: u64,
    lens: u64,
    ld_low: u64,
    ld_u: u64,
    ld_b: u64,
    ld_c: u64,
    ld_z: u64,
    rows: u32,
    k: u32,
    e: u32,
    softplus: u32,
    y_type: u32,
    unused: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct BatchConvParams {
    x: u64,
    taps: u64,
    bias: u64,
    state: u64,
    lens: u64,
    u: u64,
    weight: u64,
    part: u64,
    ld_x: u64,
    rows: u32,
    e: u32,
    m: u32,
    unused: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct BatchSumParams {
    part: u64,
    y: u64,
    lens: u64,
    ld_y: u64,
    parts: u32,
    rows: u32,
    m: u32,
    y_type: u32,
}

/// A step of the convolution, and a product of what it makes, by parts in the product's scratch and their sum.
pub fn conv(call: &Call, product: &Call, attrs: &LinearAttrs) -> Option<Vec<Step>> {
    let ([x, taps, bias, state, lens], [u]) = (call.inputs, call.outputs) else { panic!("operands of conv1d_silu") };
    let ([_, weight, added, residual, _], [y]) = (product.inputs, product.outputs) else { panic!("operands of linear") };
    let (rows, e, m) = (call.rows(), call.sizes.e, product.sizes.m);
    if rows * e * m == 0 || call.sizes.l != 1 || call.sizes.w != TAPS || added.is_present() || residual.is_present() {
        return None;
    }
    let pieces = e.is_multiple_of(8) && weight.address.is_multiple_of(16);
    let vectors = [x, taps, bias, state, u].iter().all(|operand| operand.is_aligned(4));
    let (parts, tiles) = (e.div_ceil(CONV_CHANNELS), rows.div_ceil(16) * m.div_ceil(8));
    let fits = m <= MOST_COLUMNS && (TILE_BYTES * parts * tiles) as u64 <= linear::cuda::scratch_bytes(product, attrs);
    if [x, u, weight].iter().any(|operand| operand.dtype != DType::Bf16) || !pieces || !vectors || !fits {
        return None;
    }
    let part = product.scratch;
    let params = Params::new(BatchConvParams {
        x: x.address,
        taps: taps.address,
        bias: bias.address,
        state: state.address,
        lens: lens.address,
        u: u.address,
        weight: weight.address,
        part,
        ld_x: x.ld as u64,
        rows: rows as u32,
        e: e as u32,
        m: m as u32,
        unused: 0,
    });
    let sum = Params::new(BatchSumParams {
        part,
        y: y.address,
        lens: lens.address,
        ld_y: y.ld as u64,
        parts: parts as u32,
        rows: rows as u32,
        m: m as u32,
        y_type: stored(y.dtype),
    });
    let shared = m * CONV_CHANNELS * size(DType::Bf16);
    let blocks = parts * rows.div_ceil(CONV_ROWS);
    Some(vec![
        launch_1d("batch", "batch_conv", [blocks, THREADS, shared], params),
        launch_1d("batch", "batch_sum", [tiles, THREADS, 0], sum),
    ])
}

/// The product that makes dt, and the step of the scan that alone reads it.
pub fn scan(product: &Call, call: &Call, attrs: &ScanAttrs) -> Option<Step> {
    let ([low, weight, bias, residual, _], _) = (product.inputs, product.outputs) else { panic!("operands of linear") };
    let ([u, _, a, b, c, d, z, dt_bias, state, lens], [y]) = (call.inputs, call.outputs) else { panic!("operands of scan") };
    let (rows, k, e) = (call.rows(), product.sizes.k, call.sizes.e);
    if rows * e == 0 || call.sizes.l != 1 || call.sizes.n != STATES || attrs.groups != 1 || residual.is_present() {
        return None;
    }
    let narrow = |operand: &Operand| !operand.is_present() || operand.dtype == DType::Bf16;
    let columns = Operand { ld: k, ..*weight };
    let pieces = k.is_multiple_of(8) && [low, &columns].iter().all(|operand| operand.is_aligned(8));
    let vectors = e.is_multiple_of(4) && [u, z, y, a, d, state].iter().all(|operand| operand.is_aligned(4));
    if ![low, weight, u, b, c, z].iter().all(|operand| narrow(operand)) || !pieces || !vectors {
        return None;
    }
    let params = Params::new(BatchScanParams {
        low: low.address,
        weight: weight.address,
        bias: bias.address,
        dt_bias: dt_bias.address,
        u: u.address,
        b_matrix: b.address,
        c_matrix: c.address,
        z: z.address,
        a: a.address,
        d: d.address,
        state: state.address,
        y: y.address,
        lens: lens.address,
        ld_low: low.ld as u64,
        ld_u: u.ld as u64,
        ld_b: b.ld as u64,
        ld_c: c.ld as u64,
        ld_z: z.ld as u64,
        rows: rows as u32,
        k: k as u32,
        e: e as u32,
        softplus: attrs.softplus.into(),
        y_type: stored(y.dtype),
        unused: 0,
    });
    Some(launch_1d("batch", "batch_scan", [e.div_ceil(CHANNELS) * rows.div_ceil(ROWS), THREADS, 0], params))
}
