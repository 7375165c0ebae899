//! Which nodes of a plan are launched together: neighbors that generate a token, where what lies between them is read by nothing else.

use statespace_plan::{Attrs, Checked, CheckedNode, Operand, Place};

use crate::node::{Node, Slot};

/// Neighbors, by the first one's place, that `step` (of one sequence) or `batch` (of many) of `statespace-ops` may take together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// A node by itself.
    One,
    /// `rmsnorm` (if the first) and `linear`, or `linear` and `conv1d_silu` (if the second), or all three.
    Linear { norm: bool, conv: bool },
    /// `linear` that makes dt, and `scan`.
    Scan,
    /// `conv1d_silu`, and a `linear` of what it makes.
    Conv,
}

impl Group {
    /// Number of nodes.
    pub(super) fn len(self) -> usize {
        match self {
            Group::One => 1,
            Group::Linear { norm, conv } => 1 + usize::from(norm) + usize::from(conv),
            Group::Scan | Group::Conv => 2,
        }
    }
}

/// The groups of a plan, in order.
pub(super) fn groups(plan: &Checked, nodes: &[Node]) -> Vec<Group> {
    let fuse = Fuse { plan, nodes };
    let (mut groups, mut at) = (Vec::new(), 0);
    while at < nodes.len() {
        let group = fuse.at(at);
        groups.push(group);
        at += group.len();
    }
    groups
}

/// By node the last one that reads what it makes; past all nodes where that is an output of the plan.
pub(super) fn readers(plan: &Checked) -> Vec<usize> {
    let nodes = plan.nodes();
    let reads = |inputs: &[Option<Operand>], made: &Operand| inputs.iter().flatten().any(|read| read.root == made.root && meet(read, made));
    let last = |made: &Operand| {
        let is_output = plan.outputs().iter().any(|(_, operand)| operand.root == made.root && meet(operand, made));
        if is_output { nodes.len() } else { nodes.iter().rposition(|node| reads(&node.inputs, made)).unwrap_or(0) }
    };
    nodes.iter().map(|node| node.outputs.iter().map(last).max().unwrap_or(0)).collect()
}

/// Positions of operands in the op table.
const CONV_X: usize = 0;
const SCAN_DT: usize = 1;
/// What every block of a group's kernel reads: those of linear and scan.
const LOW: usize = 0;
const SCAN_BC: [usize; 2] = [3, 4];

struct Fuse<'a> {
    plan: &'a Checked,
    nodes: &'a [Node],
}

impl Fuse<'_> {
    fn at(&self, at: usize) -> Group {
        let is_linear = |at: usize| matches!(self.nodes.get(at).map(|node| &node.attrs), Some(Attrs::Linear(_)));
        let attrs = |at: usize| self.nodes.get(at).map(|node| &node.attrs);
        let (b, l) = (self.nodes[at].sizes.b, self.nodes[at].sizes.l);
        if l != 1 {
            return Group::One;
        }
        let norm = b == 1 && matches!(attrs(at), Some(Attrs::Rmsnorm(_))) && is_linear(at + 1) && self.joins(at, at + 1, 0);
        if matches!(attrs(at), Some(Attrs::Conv1dSilu)) && is_linear(at + 1) && self.feeds(at, at + 1) {
            return Group::Conv;
        }
        let linear = at + usize::from(norm);
        if !is_linear(linear) {
            return Group::One;
        }
        if !norm && matches!(attrs(at + 1), Some(Attrs::Scan(_))) && self.joins(at, at + 1, SCAN_DT) {
            let (product, scan) = (&self.nodes[at], &self.nodes[at + 1]);
            let read = [&product.inputs[LOW], &scan.inputs[SCAN_BC[0]], &scan.inputs[SCAN_BC[1]]];
            return if apart(&scan.outputs, read) { Group::Scan } else { Group::One };
        }
        let conv = b == 1 && matches!(attrs(linear + 1), Some(Attrs::Conv1dSilu)) && self.joins(linear, linear + 1, CONV_X);
        let x = &self.nodes[at].inputs[0];
        let fits = |conv: bool| {
            let made = [linear, linear + 1];
            (norm || conv) && made[..1 + usize::from(conv)].iter().all(|node| apart(&self.nodes[*node].outputs, [x]))
        };
        match conv {
            _ if fits(conv) => Group::Linear { norm, conv },
            true if fits(false) => Group::Linear { norm, conv: false },
            _ => Group::One,
        }
    }

    /// Whether what `from` makes, as far as input `input` of `to` has it, is read by that alone, and both take part in the same rows.
    fn joins(&self, from: usize, to: usize, input: usize) -> bool {
        let nodes = self.plan.nodes();
        let (made, Some(read)) = (&nodes[from].outputs[0], &nodes[to].inputs[input]) else { return false };
        let is_other = |operand: &Operand| !std::ptr::eq(operand, read) && operand.root == made.root && meet(operand, read);
        let readers = nodes.iter().flat_map(|node| node.inputs.iter().flatten());
        let outputs = self.plan.outputs().iter().map(|(_, operand)| operand);
        read.root == made.root
            && matches!(made.place, Place::Temp { .. })
            && !readers.chain(outputs).any(is_other)
            && self.lens(&nodes[from]) == self.lens(&nodes[to])
    }

    /// Whether what `from` makes is what `to` reads first, and both take part in the same rows.
    fn feeds(&self, from: usize, to: usize) -> bool {
        let (nodes, made) = (self.plan.nodes(), &self.nodes[from].outputs[0]);
        let is_read = |x: &Slot| (x.base, x.start, x.span, x.ld) == (made.base, made.start, made.span, made.ld);
        self.nodes[to].inputs[LOW].as_ref().is_some_and(is_read) && self.lens(&nodes[from]) == self.lens(&nodes[to])
    }

    fn lens(&self, node: &CheckedNode) -> Option<(u32, usize)> {
        let at = self.nodes[node.id as usize].lens?;
        node.inputs[at].as_ref().map(|operand| (operand.root, operand.byte))
    }
}

/// Whether two operands of one root share bytes.
fn meet(a: &Operand, b: &Operand) -> bool {
    a.byte < b.byte + b.span() && b.byte < a.byte + a.span()
}

/// Whether no memory that is written is memory that all blocks read: they do so at other times than in the plan.
fn apart<const N: usize>(written: &[Slot], read: [&Option<Slot>; N]) -> bool {
    let meet = |a: &Slot, b: &Slot| a.base == b.base && a.start < b.start + b.span && b.start < a.start + a.span;
    !written.iter().any(|a| read.into_iter().flatten().any(|b| meet(a, b)))
}
