//! Nodes of one position of one sequence, taken together: launches of `kernel.cu`.
//!
//! Generation is a chain of small kernels, whose number and latency count for more than their work. A layer of Mamba is four of these: norm, in_proj
//! and convolution; x_proj; dt_proj and scan; out_proj and residual. They compute what the ops do, operands and all; nothing that only
//! they would read is written. Each function gives none where the shapes are not for its kernel.

use bytemuck::{Pod, Zeroable};
use statespace_plan::DType;
use statespace_plan::ops::{Compute, LinearAttrs, RmsnormAttrs, ScanAttrs};

use crate::cuda::{Call, Operand, Params, Step, launch_1d, size, stored};

/// As in `kernel.cu`.
const MOST_THREADS: usize = 512;
const TOGETHER: usize = 4;
const STAGES: usize = 4;
/// Shared memory that a block has beside that, at most.
const OWN: usize = 4 << 10;
const SCAN_THREADS: usize = 256;
/// Bytes of a matrix, a multiprocessor, above which bandwidth bounds more than latency does.
const LARGE: usize = 128 << 10;
/// Columns of dt_proj, and channels of a block.
const MOST_RANK: usize = 256;
const MOST_CHANNELS: usize = 64;
/// States of a block: sixteen a thread.
const MOST_STATES: usize = 16 * SCAN_THREADS;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct StepLinearParams {
    x: u64,
    weight: u64,
    bias: u64,
    residual: u64,
    y: u64,
    lens: u64,
    norm: u64,
    taps: u64,
    conv_bias: u64,
    state: u64,
    u: u64,
    k: u32,
    m: u32,
    rows: u32,
    lanes: u32,
    abreast: u32,
    stages: u32,
    rounds: u32,
    normed: u32,
    first: u32,
    channels: u32,
    eps: f32,
    unused: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct StepScanParams {
    low: u64,
    weight: u64,
    bias: u64,
    u: u64,
    a: u64,
    b_matrix: u64,
    c_matrix: u64,
    d: u64,
    z: u64,
    dt_bias: u64,
    state: u64,
    y: u64,
    lens: u64,
    k: u32,
    e: u32,
    n: u32,
    per_group: u32,
    channels: u32,
    stored: u32,
    rounds: u32,
    softplus: u32,
}

/// The matrix product of one row; with `norm`, of what that makes of its x; with `conv`, which reads columns of y that nothing else reads,
/// what that makes of them in their place.
pub fn linear(call: &Call, attrs: &LinearAttrs, norm: Option<(&Call, &RmsnormAttrs)>, conv: Option<&Call>) -> Option<Step> {
    let ([x, weight, bias, residual, lens], [y]) = (call.inputs, call.outputs) else { panic!("operands of linear") };
    let (k, m) = (call.sizes.k, call.sizes.m);
    let (x, gain, eps) = match norm {
        None => (x, 0, 0.0),
        Some((norm, attrs)) => (&norm.inputs[0], norm.inputs[1].address, attrs.eps),
    };
    let lane = 16 / size(weight.dtype);
    if call.rows() != 1 || k == 0 || m == 0 || !k.is_multiple_of(lane) || !weight.address.is_multiple_of(16) || !gain.is_multiple_of(16) {
        return None;
    }
    // The pitch of a single row is of no concern.
    if !(Operand { ld: k, ..*x }).is_aligned(4) || [x, y].iter().any(|operand| operand.dtype != DType::F32) {
        return None;
    }
    let slots = k / lane;
    // The matrices of a model share a kernel where they can: those that take turns fetch their instructions anew.
    let pieces = if slots < 256 { 1 } else { 2 };
    let room = (call.device.shared_per_block_optin as usize).saturating_sub(OWN) / (16 * TOGETHER * STAGES) / 32 * 32;
    let most = MOST_THREADS.min(room);
    let pieces = [pieces, 2, 4].into_iter().find(|pieces| slots.div_ceil(*pieces) <= most)?;
    let lanes = slots.div_ceil(pieces).next_multiple_of(32);
    let multiprocessors = call.device.multiprocessors as usize;
    // Of large matrices twice as much is on its way, by twice the threads: 128 kB a multiprocessor; small ones are done sooner with fewer.
    let wanted = if m * k * size(weight.dtype) > LARGE * multiprocessors { most } else { MOST_THREADS / 2 };
    let abreast = (wanted / lanes).max(1);
    let threads = lanes * abreast;
    // Each block's share at once, in whole steps; with a convolution, at most one row a thread, which has its past in registers.
    let fit = if conv.is_some() { threads } else { m.next_multiple_of(abreast) };
    let rows = m.div_ceil(multiprocessors * (wanted / threads).max(1)).next_multiple_of(abreast).min(fit);
    let mut params = StepLinearParams {
        x: x.address,
        weight: weight.address,
        bias: bias.address,
        residual: residual.address,
        y: y.address,
        lens: lens.address,
        norm: gain,
        eps,
        k: k as u32,
        m: m as u32,
        rows: rows as u32,
        lanes: lanes as u32,
        abreast: abreast as u32,
        stages: rows.div_ceil(TOGETHER / pieces * abreast) as u32,
        rounds: u32::from(attrs.compute == Compute::Bf16),
        normed: u32::from(norm.is_some()),
        ..StepLinearParams::zeroed()
    };
    if let Some(conv) = conv {
        let ([part, taps, bias, state, _], [u]) = (conv.inputs, conv.outputs) else { panic!("operands of conv1d_silu") };
        let first = (part.address.checked_sub(y.address)? / 4) as usize;
        if conv.sizes.w != 4 || residual.is_present() || first + conv.sizes.e > m {
            return None;
        }
        params = StepLinearParams {
            taps: taps.address,
            conv_bias: bias.address,
            state: state.address,
            u: u.address,
            first: first as u32,
            channels: conv.sizes.e as u32,
            ..params
        };
    }
    let (blocks, shared) = (m.div_ceil(rows), 16 * TOGETHER * STAGES * threads);
    Some(launch_1d("step", kernel(pieces, weight.dtype), [blocks, threads, shared], Params::new(params)))
}

/// The product that makes dt, and the step of the scan that alone reads it.
pub fn scan(product: &Call, compute: Compute, call: &Call, attrs: &ScanAttrs) -> Option<Step> {
    let ([low, weight, bias, residual, _], _) = (product.inputs, product.outputs) else { panic!("operands of linear") };
    let ([u, _, a, b, c, d, z, dt_bias, state, lens], [y]) = (call.inputs, call.outputs) else { panic!("operands of scan") };
    let (k, e, n) = (product.sizes.k, call.sizes.e, call.sizes.n);
    if call.rows() != 1 || residual.is_present() || e == 0 || n == 0 || !e.is_multiple_of(8) || k > MOST_RANK {
        return None;
    }
    let plain = [low, u, b, c, y].iter().all(|operand| operand.dtype == DType::F32);
    if !plain || !weight.address.is_multiple_of(16) {
        return None;
    }
    // As many blocks as multiprocessors, or more where a block could not hold its share.
    let most = (MOST_STATES / n / 8 * 8).min(MOST_CHANNELS);
    let channels = (8 * e.div_ceil(8 * call.device.multiprocessors as usize)).min(most);
    if channels == 0 {
        return None;
    }
    let per = (channels * n).div_ceil(SCAN_THREADS);
    let kernel = [(1, "step_scan1"), (4, "step_scan4")].into_iter().find(|(most, _)| per <= *most).map_or("step_scan16", |found| found.1);
    let params = StepScanParams {
        low: low.address,
        weight: weight.address,
        bias: bias.address,
        u: u.address,
        a: a.address,
        b_matrix: b.address,
        c_matrix: c.address,
        d: d.address,
        z: z.address,
        dt_bias: dt_bias.address,
        state: state.address,
        y: y.address,
        lens: lens.address,
        k: k as u32,
        e: e as u32,
        n: n as u32,
        per_group: (e / attrs.groups as usize) as u32,
        channels: channels as u32,
        stored: stored(weight.dtype),
        rounds: u32::from(compute == Compute::Bf16),
        softplus: attrs.softplus.into(),
    };
    let shared = (channels * k * size(weight.dtype)).next_multiple_of(16);
    Some(launch_1d("step", kernel, [e.div_ceil(channels), SCAN_THREADS, shared], Params::new(params)))
}

fn kernel(pieces: usize, dtype: DType) -> &'static str {
    match (pieces, dtype) {
        (1, DType::F32) => "step_linear1_f32",
        (2, DType::F32) => "step_linear2_f32",
        (_, DType::F32) => "step_linear4_f32",
        (1, DType::Bf16) => "step_linear1_bf16",
        (2, DType::Bf16) => "step_linear2_bf16",
        (_, DType::Bf16) => "step_linear4_bf16",
        (1, _) => "step_linear1_f16",
        (2, _) => "step_linear2_f16",
        (_, _) => "step_linear4_f16",
    }
}
