//! Launches: [`linear`](crate::linear)'s for a block of logits, then `kernel.cu` on it, block after block.

use bytemuck::{Pod, Zeroable};
use statespace_plan::DType;
use statespace_plan::ops::LinearCrossEntropyAttrs;

use crate::cuda::{Call, Launch, Operand, Params, Step};
use crate::linear::cuda::{BETWEEN, Out, Product};

/// Columns of the smallest block: what linear's tiles have.
const COLUMNS: usize = 128;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct CrossEntropyParams {
    logits: u64,
    targets: u64,
    lens: u64,
    board: u64,
    nll: u64,
    fault: u64,
    pitch: u64,
    l: u32,
    node: u32,
    start: u32,
    width: u32,
    vocab: u32,
    unused: u32,
}

/// Addresses in scratch.
struct Layout {
    logits: u64,
    board: u64,
    product: u64,
}

fn vocab(call: &Call, attrs: &LinearCrossEntropyAttrs) -> usize {
    if attrs.vocab == 0 { call.sizes.m } else { attrs.vocab as usize }
}

/// Columns of a block of logits.
fn width(call: &Call, vocab: usize) -> usize {
    let columns = BETWEEN * call.device.multiprocessors as usize / (4 * call.rows().max(1)) / COLUMNS * COLUMNS;
    columns.max(COLUMNS).min(vocab)
}

fn layout(call: &Call, width: usize) -> Layout {
    let rows = call.rows() as u64;
    let board = (call.scratch + 4 * rows * width as u64).next_multiple_of(256);
    Layout { logits: call.scratch, board, product: (board + 16 * rows).next_multiple_of(256) }
}

fn product<'a>(call: &'a Call, attrs: &LinearCrossEntropyAttrs, scratch: u64) -> Product<'a> {
    let [x, weight, _, lens] = call.inputs else { panic!("operands of linear_cross_entropy") };
    Product { call, compute: attrs.compute, x: *x, weight: *weight, lens: lens.address, scratch }
}

fn out(logits: u64, width: usize) -> Out {
    let y = Operand { address: logits, ld: width, dtype: DType::F32 };
    Out { y, bias: 0, residual: Operand::ABSENT, whole: true }
}

/// For each block of the vocabulary its logits and what is kept of them; the last writes `nll`.
pub fn launches(call: &Call, attrs: &LinearCrossEntropyAttrs) -> Vec<Step> {
    let (rows, vocab) = (call.rows(), vocab(call, attrs));
    if rows == 0 {
        return Vec::new();
    }
    let width = width(call, vocab);
    let Layout { logits, board, product: scratch } = layout(call, width);
    let product = product(call, attrs, scratch);
    let out = out(logits, width);
    let mut steps = product.prepare();
    for start in (0..vocab).step_by(width) {
        let width = width.min(vocab - start);
        steps.extend(product.columns(start, width, &out));
        let params = CrossEntropyParams {
            logits,
            targets: call.inputs[2].address,
            lens: product.lens,
            board,
            nll: call.outputs[0].address,
            fault: call.fault,
            pitch: out.y.ld as u64,
            l: call.sizes.l as u32,
            node: call.node,
            start: start as u32,
            width: width as u32,
            vocab: vocab as u32,
            unused: 0,
        };
        steps.push(Step::Launch(Launch {
            module: "linear_cross_entropy",
            kernel: "linear_cross_entropy_block",
            grid: [u32::try_from(rows).expect("rows that fit the device"), 1, 1],
            // About eight logits a thread: a single row has the whole vocabulary in its block.
            block: [(width / 8).next_multiple_of(32).clamp(32, 1024) as u32, 1, 1],
            shared: 0,
            together: false,
            params: Params::new(params),
        }));
    }
    steps
}

/// Bytes of scratch: a block of logits, what is known of each row, and what the product needs.
pub fn scratch_bytes(call: &Call, attrs: &LinearCrossEntropyAttrs) -> u64 {
    let width = width(call, vocab(call, attrs));
    let Layout { logits, product: scratch, .. } = layout(call, width);
    product(call, attrs, scratch).scratch_bytes(width, &out(logits, width)) + scratch - call.scratch
}
