//! Nodes of a checked plan with the places of their operands filled in.

use statespace_ops::Rows;
use statespace_plan::{Attrs, CheckedNode, DType, Op, Operand, Place};

use crate::error::Error;
use crate::place::Placement;

/// A memory that operands lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// Values between nodes.
    Temp,
    /// What lives from run to run.
    State,
    /// Inputs and outputs.
    Io,
    /// The checkpoint, by row of the plan's `weights`.
    Weight(usize),
}

/// What a node does to an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Reads it.
    Read,
    /// Finds it in its output, which it may not touch otherwise.
    InPlace,
    /// Writes it; an updated input is read, too.
    Write,
}

/// Where an operand is.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) base: Base,
    /// Bytes from the start of the memory; 0 for weights.
    pub(crate) start: usize,
    /// Bytes to behind the last element, gaps between rows included.
    pub(crate) span: usize,
    pub(crate) dtype: DType,
    /// Elements from row to row.
    pub(crate) ld: usize,
    pub(crate) role: Role,
}

impl Slot {
    pub(crate) fn new(operand: &Operand, placement: &Placement, role: Role) -> Slot {
        let (base, start) = match operand.place {
            Place::Weight(row) => (Base::Weight(row), 0),
            Place::Temp { .. } => (Base::Temp, placement.start(operand.root) + operand.byte),
            Place::State { .. } => (Base::State, placement.start(operand.root) + operand.byte),
            Place::Io { .. } => (Base::Io, placement.start(operand.root) + operand.byte),
        };
        Slot { base, start, span: operand.span(), dtype: operand.dtype, ld: operand.ld, role }
    }
}

/// Values of the symbols that kernels ask for; 0 where the op does not have one. Looking them up by name would cost more than small nodes do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sizes {
    pub(crate) b: usize,
    pub(crate) l: usize,
    pub(crate) d: usize,
    pub(crate) e: usize,
    pub(crate) k: usize,
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) v: usize,
    pub(crate) w: usize,
}

impl Sizes {
    pub(crate) fn new(node: &CheckedNode) -> Sizes {
        // The checked plan's operands fit the address space, and so do their axes.
        let dim = |name: &str| node.dims.get(name).map_or(0, |value| value as usize);
        Sizes { b: dim("b"), l: dim("l"), d: dim("d"), e: dim("e"), k: dim("k"), m: dim("m"), n: dim("n"), v: dim("v"), w: dim("w") }
    }
}

/// A use of an op.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: u32,
    pub(crate) op: Op,
    pub(crate) attrs: Attrs,
    pub(crate) at: String,
    pub(crate) sizes: Sizes,
    pub(crate) inputs: Vec<Option<Slot>>,
    pub(crate) outputs: Vec<Slot>,
    /// Position of the input `lens`.
    pub(crate) lens: Option<usize>,
    /// Input whose valid elements must be below a limit.
    pub(crate) ids: Option<(usize, usize)>,
    /// Parts worth having.
    pub(crate) parts: usize,
    /// The most parts that can have anything to do.
    shares: usize,
    /// Bytes and floating-point operations of all rows.
    work: u64,
}

/// Bytes and floating-point operations below which waking other threads, or stopping on the way, costs more than it gains.
const SMALL: u64 = 32 << 10;

/// What a round counts at least: there is more to it than its work.
const LEAST: u64 = 1 << 10;

impl Node {
    pub(crate) fn new(node: &CheckedNode, placement: &Placement, threads: usize) -> Node {
        let signature = node.op.signature();
        let outputs: Vec<Slot> = node.outputs.iter().map(|operand| Slot::new(operand, placement, Role::Write)).collect();
        let mut inputs: Vec<Option<Slot>> =
            node.inputs.iter().map(|operand| operand.as_ref().map(|operand| Slot::new(operand, placement, Role::Read))).collect();
        for &i in signature.updates {
            if let Some(slot) = &mut inputs[i] {
                slot.role = Role::Write;
            }
        }
        for &(i, o) in signature.inplace {
            if let Some(slot) = &mut inputs[i]
                && slot.base == outputs[o].base
                && slot.start == outputs[o].start
                && slot.span > 0
            {
                slot.role = Role::InPlace;
            }
        }
        let sizes = Sizes::new(node);
        let (work, shares) = (node.bytes().saturating_add(node.flops()), shares(node.op, &sizes));
        Node {
            id: node.id,
            op: node.op,
            attrs: node.attrs,
            at: node.at.clone(),
            sizes,
            inputs,
            outputs,
            lens: lens(node.op),
            ids: ids(node),
            parts: if work < SMALL { 1 } else { threads.min(shares) },
            shares,
            work,
        }
    }

    /// How many rounds of about `limit` bytes and operations for each thread make up the node with these rows, and what one of them comes to.
    pub(crate) fn rounds(&self, rows: Rows, limit: u64) -> (usize, u64) {
        let valid = match self.lens {
            Some(_) => (u128::from(self.work) * rows.count() as u128 / (rows.b * rows.l).max(1) as u128) as u64,
            None => self.work,
        };
        let share = valid / self.parts as u64;
        let most = self.shares / self.parts;
        let rounds = usize::try_from(share.div_ceil(limit.max(SMALL))).map_or(most, |n| n.min(most)).max(1);
        (rounds, (share / rounds as u64).max(LEAST))
    }
}

/// Position of the input `lens` of an op, where it says which rows are valid.
pub(crate) fn lens(op: Op) -> Option<usize> {
    let signature = op.signature();
    // One that is updated is a value like others.
    signature.inputs.iter().position(|input| input.name == "lens").filter(|i| !signature.updates.contains(i))
}

/// Position of the input that holds ids, and how many ids there are.
pub(crate) fn ids(node: &CheckedNode) -> Option<(usize, usize)> {
    match node.attrs {
        Attrs::Embed => Some((0, node.dim("v"))),
        Attrs::LinearCrossEntropy(attrs) => Some((2, if attrs.vocab == 0 { node.dim("m") } else { attrs.vocab as usize })),
        _ => None,
    }
}

/// Refuses ids of valid rows that are not in `0..limit`. Kernels do not look, and a wrong id is the caller's mistake.
pub(crate) fn check_ids(node: u32, at: &str, rows: Rows, ids: &[i32], limit: usize) -> Result<(), Error> {
    let bad = rows.iter().map(|row| ids[row]).find(|id| !usize::try_from(*id).is_ok_and(|id| id < limit));
    bad.map_or(Ok(()), |id| Err(Error::TokenRange { node, at: at.to_owned(), id, limit }))
}

/// The most parts that can have anything to do.
fn shares(op: Op, sizes: &Sizes) -> usize {
    let rows = match op {
        Op::Embed | Op::Rmsnorm | Op::Add | Op::Cast | Op::Softplus => sizes.b * sizes.l,
        Op::Sample => sizes.b,
        Op::Linear | Op::LinearCrossEntropy | Op::Conv1dSilu | Op::Scan | Op::Transpose | Op::SumRows => usize::MAX,
    };
    rows.max(1)
}
