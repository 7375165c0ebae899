//! All layers of a model for one token of one sequence, in one launch: `kernel.cu`.
//!
//! The launches of [`step`](crate::step) end four times a layer, and what each of them waits for is more latency than work. Here the blocks stay
//! and hand each other what they make ([`Chain`]), while weights go on coming. A part is what `step` launches at once; parts become phases.

mod place;
mod read;
#[cfg(test)]
mod tests;

use bytemuck::{Pod, Zeroable};
use statespace_plan::DType;
use statespace_plan::ops::{Compute, LinearAttrs, RmsnormAttrs, ScanAttrs};

use crate::cuda::{Call, Operand};
pub use place::Chain;

/// As in `phases.cuh`.
const N: usize = 16;
const MOST_K: usize = 8192;
const MOST_NORMED: usize = 2560;
const MOST_RANK: usize = 160;

/// What is made at once, as addresses: a matrix product or the step of a scan.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    kind: Kind,
    weight: u64,
    bias: u64,
    k: usize,
    m: usize,
    x: u64,
    /// Of a scan z.
    residual: u64,
    y: u64,
    state: u64,
    lens: u64,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Product { norm: Option<Norm>, conv: Option<Conv> },
    Scan { u: u64, b: u64, c: u64, a: u64, d: u64, dt_bias: u64, softplus: bool },
}

#[derive(Clone, Copy, Debug)]
struct Norm {
    weight: u64,
    eps: f32,
}

#[derive(Clone, Copy, Debug)]
struct Conv {
    first: usize,
    channels: usize,
    taps: u64,
    bias: u64,
    u: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct Vector {
    at: u64,
    flagged: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct TokenPhase {
    weight: u64,
    bias: u64,
    x: Vector,
    residual: Vector,
    u: Vector,
    b_matrix: Vector,
    c_matrix: Vector,
    flags: u64,
    pairs: u64,
    y: u64,
    state: u64,
    norm: u64,
    taps: u64,
    conv_bias: u64,
    a: u64,
    d: u64,
    dt_bias: u64,
    kind: u32,
    k: u32,
    m: u32,
    rows: u32,
    first: u32,
    channels: u32,
    normed: u32,
    softplus: u32,
    eps: f32,
    per_k: f32,
    halvings: u32,
    unused: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct TokenProduct {
    weight: u64,
    m: u32,
    rows: u16,
    chunks: u8,
    halvings: u8,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct TokenParams {
    phases: u64,
    products: u64,
    done: u64,
    lens: u64,
    count: u32,
    product_count: u32,
    base: u32,
    stages: u32,
    flight: u32,
    unused: u32,
}

impl Part {
    fn is_scan(&self) -> bool {
        matches!(self.kind, Kind::Scan { .. })
    }
}

/// The matrix product of one row, as [`step::linear`](crate::step::linear) takes it; none where its shape or types are not for this kernel.
pub fn linear(call: &Call, attrs: &LinearAttrs, norm: Option<(&Call, &RmsnormAttrs)>, conv: Option<&Call>) -> Option<Part> {
    let ([x, weight, bias, residual, lens], [y]) = (call.inputs, call.outputs) else { panic!("operands of linear") };
    let (k, m) = (call.sizes.k, call.sizes.m);
    let (x, norm) = match norm {
        None => (x, None),
        Some((norm, attrs)) => (&norm.inputs[0], Some(Norm { weight: norm.inputs[1].address, eps: attrs.eps })),
    };
    let most = if norm.is_some() { MOST_NORMED } else { MOST_K };
    let fits = call.rows() == 1 && k > 0 && k <= most && m > 0 && m.is_multiple_of(2);
    let typed = weight.dtype == DType::Bf16 && attrs.compute == Compute::Bf16 && is_f32(&[x, y]);
    if !fits || !typed || !aligned(&[weight.address, x.address, norm.map_or(0, |norm| norm.weight)]) {
        return None;
    }
    let mut part = Part {
        kind: Kind::Product { norm, conv: None },
        weight: weight.address,
        bias: bias.address,
        k,
        m,
        x: x.address,
        residual: residual.address,
        y: y.address,
        state: 0,
        lens: lens.address,
    };
    if let Some(conv) = conv {
        let ([taken, taps, bias, state, _], [u]) = (conv.inputs, conv.outputs) else { panic!("operands of conv1d_silu") };
        let first = (taken.address.checked_sub(y.address)? / 4) as usize;
        if conv.sizes.w != 4
            || first + conv.sizes.e > m
            || residual.is_present()
            || !state.is_present()
            || first % 2 + conv.sizes.e % 2 > 0
            || !is_f32(&[u])
        {
            return None;
        }
        let conv = Conv { first, channels: conv.sizes.e, taps: taps.address, bias: bias.address, u: u.address };
        part = Part { kind: Kind::Product { norm, conv: Some(conv) }, state: state.address, ..part };
    }
    Some(part)
}

/// The product that makes dt, and the step of the scan that alone reads it; none where its shape or types are not for this kernel.
pub fn scan(product: &Call, compute: Compute, call: &Call, attrs: &ScanAttrs) -> Option<Part> {
    let ([low, weight, bias, residual, _], _) = (product.inputs, product.outputs) else { panic!("operands of linear") };
    let ([u, _, a, b, c, d, z, dt_bias, state, lens], [y]) = (call.inputs, call.outputs) else { panic!("operands of scan") };
    let (k, e) = (product.sizes.k, call.sizes.e);
    let fits = call.rows() == 1 && call.sizes.n == N && attrs.groups == 1 && k <= MOST_RANK && k.is_multiple_of(2) && e.is_multiple_of(2);
    let typed = weight.dtype == DType::Bf16 && compute == Compute::Bf16 && is_f32(&[low, u, b, c, y]);
    if !fits || !typed || residual.is_present() || !state.is_present() || !aligned(&[weight.address]) {
        return None;
    }
    let (b, c, a, d, dt_bias) = (b.address, c.address, a.address, d.address, dt_bias.address);
    Some(Part {
        kind: Kind::Scan { u: u.address, b, c, a, d, dt_bias, softplus: attrs.softplus },
        weight: weight.address,
        bias: bias.address,
        k,
        m: e,
        x: low.address,
        residual: z.address,
        y: y.address,
        state: state.address,
        lens: lens.address,
    })
}

fn is_f32(operands: &[&Operand]) -> bool {
    operands.iter().all(|operand| operand.dtype == DType::F32)
}

fn aligned(addresses: &[u64]) -> bool {
    addresses.iter().all(|address| address.is_multiple_of(16))
}
