//! Nodes of one position of many sequences, taken together: launches of `kernel.cu`.
//!
//! For steps whose products are cuBLASLt's, with bf16 weights and, between nodes, bf16 values. They compute what the ops do, but for a rounding of
//! what lies between them. Each function gives none where the shapes are not for its kernel.

use bytemuck::{Pod, Zeroable};
use statespace_plan::DType;
use statespace_plan::ops::ScanAttrs;

use crate::cuda::{Call, Launch, Operand, Params, Step, stored};

/// As in `kernel.cu`.
const THREADS: u32 = 256;
const STATES: usize = 16;
const CHANNELS: usize = 128;
const ROWS: usize = 8;

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
    let grid = [(e.div_ceil(CHANNELS) * rows.div_ceil(ROWS)) as u32, 1, 1];
    Some(Step::Launch(Launch { module: "batch", kernel: "batch_scan", grid, block: [THREADS, 1, 1], shared: 0, together: false, params }))
}
