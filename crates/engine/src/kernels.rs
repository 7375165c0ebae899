//! From a node's operands to the kernel of its op.

use statespace_ops::add::Add;
use statespace_ops::cast::Cast;
use statespace_ops::conv1d_silu::Conv1dSilu;
use statespace_ops::embed::Embed;
use statespace_ops::linear::Linear;
use statespace_ops::linear_cross_entropy::LinearCrossEntropy;
use statespace_ops::rmsnorm::Rmsnorm;
use statespace_ops::sample::{self, Outputs, Sample};
use statespace_ops::scan::{self, Scan};
use statespace_ops::softplus::Softplus;
use statespace_ops::sum_rows::SumRows;
use statespace_ops::transpose::Transpose;
use statespace_plan::Attrs;
use statespace_plan::ops::LinearCrossEntropyAttrs;
use statespace_simd::Level;

use crate::arena::Job;
use crate::node::Node;

/// Floats of scratch that each part of a node needs, however many rows are valid.
pub(crate) fn scratch(node: &Node) -> usize {
    let s = &node.sizes;
    match node.attrs {
        Attrs::Linear(attrs) => Linear::scratch_floats(s.b * s.l, s.k, attrs.compute),
        Attrs::Scan(_) => scan::scratch(s.n),
        Attrs::Sample(_) => sample::scratch(s.v),
        Attrs::LinearCrossEntropy(attrs) => LinearCrossEntropy::scratch_floats(s.b * s.l, s.k, attrs.compute),
        Attrs::Embed
        | Attrs::Rmsnorm(_)
        | Attrs::Conv1dSilu
        | Attrs::Add
        | Attrs::Cast(_)
        | Attrs::Transpose
        | Attrs::Softplus
        | Attrs::SumRows => 0,
    }
}

/// Floats that the parts of a node share.
pub(crate) fn board(node: &Node) -> usize {
    match node.attrs {
        Attrs::LinearCrossEntropy(attrs) => LinearCrossEntropy::board_floats(node.sizes.b * node.sizes.l, vocab(node, attrs)),
        _ => 0,
    }
}

fn vocab(node: &Node, attrs: LinearCrossEntropyAttrs) -> usize {
    if attrs.vocab == 0 { node.sizes.m } else { attrs.vocab as usize }
}

fn cross_entropy<'a>(job: &Job<'a>, attrs: LinearCrossEntropyAttrs) -> LinearCrossEntropy<'a> {
    LinearCrossEntropy {
        rows: job.rows(),
        k: job.node.sizes.k,
        vocab: vocab(job.node, attrs),
        compute: attrs.compute,
        x: job.mat(0),
        weight: job.stored(1),
        targets: job.slice(2),
    }
}

/// Whether a node is not done when all parts of it have run.
pub(crate) fn has_second_pass(node: &Node) -> bool {
    matches!(node.attrs, Attrs::LinearCrossEntropy(_))
}

/// Runs one part of a node's second pass.
pub(crate) fn second_pass(job: &Job, part: usize, parts: usize) {
    if let Attrs::LinearCrossEntropy(attrs) = job.node.attrs {
        cross_entropy(job, attrs).finish(part, parts, job.board(), job.out(0));
    }
}

/// Runs one part of a node. `step` counts the steps of the run. Operands are named by their positions in `spec/ops.json`.
pub(crate) fn run(job: &Job, level: Level, step: usize, part: usize, parts: usize, scratch: &mut [f32]) {
    let s = &job.node.sizes;
    match job.node.attrs {
        Attrs::Embed => {
            let op = Embed { rows: job.rows(), d: s.d, tokens: job.slice(0), weight: job.stored(1) };
            op.run(level, part, parts, job.out(0));
        }
        Attrs::Rmsnorm(attrs) => {
            let op = Rmsnorm { rows: job.rows(), d: s.d, x: job.input(0), weight: job.optional(1), eps: attrs.eps };
            op.run(level, part, parts, job.out(0));
        }
        Attrs::Linear(attrs) => {
            let op = Linear {
                rows: job.rows(),
                k: s.k,
                m: s.m,
                compute: attrs.compute,
                x: job.mat(0),
                weight: job.stored(1),
                bias: job.optional(2),
                residual: job.optional_input(3),
            };
            op.run(level, part, parts, job.out(0), scratch);
        }
        Attrs::Conv1dSilu => {
            let op = Conv1dSilu { rows: job.rows(), e: s.e, w: s.w, x: job.mat(0), weight: job.slice(1), bias: job.optional(2) };
            op.run(level, part, parts, job.update(3), job.out(0));
        }
        Attrs::Scan(attrs) => {
            let op = Scan {
                rows: job.rows(),
                e: s.e,
                n: s.n,
                groups: attrs.groups as usize,
                softplus: attrs.softplus,
                u: job.stored_input(0),
                dt: job.stored_input(1),
                a: job.slice(2),
                b: job.stored_input(3),
                c: job.stored_input(4),
                d: job.optional(5),
                z: job.optional_stored_input(6),
                dt_bias: job.optional(7),
            };
            op.run(level, part, parts, job.update(8), job.stored_out(0), scratch);
        }
        Attrs::Add => {
            let op = Add { rows: job.rows(), d: s.d, a: job.input(0), c: job.input(1) };
            op.run(level, part, parts, job.out(0));
        }
        Attrs::Cast(_) => {
            let op = Cast { rows: job.rows(), d: s.d, x: job.stored(0), ld: job.pitch(0) };
            op.run(level, part, parts, job.stored_out(0));
        }
        Attrs::Transpose => {
            let op = Transpose { b: s.b, l: s.l, d: s.d, x: job.slice(0) };
            op.run(part, parts, job.out(0));
        }
        Attrs::Softplus => {
            let op = Softplus { rows: job.rows(), d: s.d, x: job.input(0) };
            op.run(level, part, parts, job.out(0));
        }
        Attrs::SumRows => {
            let op = SumRows { rows: job.rows(), d: s.d, x: job.slice(0) };
            op.run(level, part, parts, job.update(1));
        }
        Attrs::LinearCrossEntropy(attrs) => cross_entropy(job, attrs).run(level, part, parts, job.board(), job.out(0), scratch),
        Attrs::Sample(attrs) => {
            let op = Sample {
                b: s.b,
                v: s.v,
                vocab: attrs.vocab as usize,
                steps: attrs.steps as usize,
                step,
                logits: job.slice(0),
                sampler: job.slice(4),
                eos: job.slice(5),
            };
            let out = Outputs {
                tokens: job.update(1),
                lens: job.update(2),
                rng: job.update(3),
                seen: job.update(6),
                token: job.out(0),
                logprob: job.out(1),
            };
            op.run(level, part, parts, out, scratch);
        }
    }
}
