//! The launches of a program: of nodes, of groups of them, and of groups that follow each other.

use std::ops::Range;

use statespace_ops::cuda::{self, Call, Operand, Sizes, Step};
use statespace_ops::token::{self, Chain, Part};
use statespace_ops::{batch, step};
use statespace_plan::Attrs;
use statespace_plan::ops::{Compute, LinearAttrs, RmsnormAttrs, ScanAttrs};

use super::Program;
use crate::cuda::device::Buffer;
use crate::cuda::fuse::Group;
use crate::cuda::{FAULT, Machine};
use crate::error::Error;
use crate::node::{self, Base, Node, Slot as Place};

/// Launches of all nodes, for places that `temp` and scratch have.
#[derive(Default)]
pub(super) struct Launches {
    pub(super) places: [u64; 2],
    pub(super) steps: Vec<Step>,
    /// By node.
    pub(super) ranges: Vec<Range<usize>>,
    /// What launches keep beside the plan's own spaces.
    words: Vec<Buffer>,
}

impl Program {
    /// Makes the launches for where things are now, ready to be submitted; a graph of others is of no use any more. Those of nodes taken together
    /// are the last node's.
    pub(super) fn launch_from(&mut self, machine: &Machine) -> Result<(), Error> {
        let mut launches = Launches { places: places(machine), ..Launches::default() };
        let mut rest = &self.nodes[..];
        let spans = self.groups.iter().map(|group| {
            let (nodes, others) = rest.split_at(group.len());
            rest = others;
            (*group, nodes)
        });
        let spans: Vec<_> = spans.map(|(group, nodes)| (group, nodes, self.part(machine, group, nodes))).collect();
        let mut rest = &spans[..];
        while let [(group, nodes, _), ..] = rest {
            let parts: Vec<Part> = rest.iter().map_while(|(.., part)| *part).collect();
            let chain = self.chain(machine, &parts, &rest[..parts.len()]);
            let (groups, joined) = match chain {
                Some(chain) => {
                    let words = Buffer::zeroed(&machine.device, chain.bytes())?;
                    let (step, start, tables) = chain.place(words.address());
                    words.put(start, &tables)?;
                    launches.words.push(words);
                    (parts.len(), Some(vec![step]))
                }
                None => (1, self.join(machine, *group, nodes)),
            };
            let (taken, others) = rest.split_at(groups);
            let mut left: usize = taken.iter().map(|(_, nodes, _)| nodes.len()).sum();
            for node in taken.iter().flat_map(|(_, nodes, _)| *nodes) {
                let start = launches.steps.len();
                left -= 1;
                match &joined {
                    Some(_) if left > 0 => {}
                    Some(steps) => launches.steps.extend_from_slice(steps),
                    None => launches.steps.extend(self.call(machine, node, |call| cuda::launches(&node.attrs, call))),
                }
                launches.ranges.push(start..launches.steps.len());
            }
            rest = others;
        }
        machine.device.prepare(&launches.steps)?;
        (self.launches, self.graph) = (launches, None);
        Ok(())
    }

    /// Groups that follow each other as one launch, if there is a kernel for them.
    fn chain(&self, machine: &Machine, parts: &[Part], groups: &[(Group, &[Node], Option<Part>)]) -> Option<Chain> {
        let end = groups.last()?.1.last()?.id as usize;
        let kept: Vec<bool> = groups.iter().map(|(_, nodes, _)| nodes.iter().any(|node| self.readers[node.id as usize] > end)).collect();
        Chain::new(parts, &kept, &machine.device.facts())
    }

    /// A group as a part of a chain.
    fn part(&self, machine: &Machine, group: Group, nodes: &[Node]) -> Option<Part> {
        match group {
            Group::One => self.describe(machine, nodes, [false; 2], token::linear),
            Group::Linear { norm, conv } => self.describe(machine, nodes, [norm, conv], token::linear),
            Group::Scan => self.describe_scan(machine, nodes, token::scan),
            Group::Conv => None,
        }
    }

    /// A group's launches, if there are kernels for it.
    fn join(&self, machine: &Machine, group: Group, nodes: &[Node]) -> Option<Vec<Step>> {
        let step = match group {
            Group::One => None,
            Group::Linear { norm, conv } => self.describe(machine, nodes, [norm, conv], step::linear),
            Group::Scan => self.describe_scan(machine, nodes, |low, compute, call, attrs| {
                step::scan(low, compute, call, attrs).or_else(|| batch::scan(low, call, attrs))
            }),
            Group::Conv => {
                let [conv, product] = nodes else { return None };
                let Attrs::Linear(attrs) = &product.attrs else { return None };
                return self.call(machine, conv, |call| self.call(machine, product, |product| batch::conv(call, product, attrs)));
            }
        };
        step.map(|step| vec![step])
    }

    /// Describes a product, with a norm in front of it and a convolution behind it where the group has them; none where it is another node.
    fn describe<T>(
        &self,
        machine: &Machine,
        nodes: &[Node],
        [norm, conv]: [bool; 2],
        take: impl FnOnce(&Call, &LinearAttrs, Option<(&Call, &RmsnormAttrs)>, Option<&Call>) -> Option<T>,
    ) -> Option<T> {
        let (first, node, last) = (&nodes[0], &nodes[usize::from(norm)], &nodes[nodes.len() - 1]);
        let Attrs::Linear(attrs) = &node.attrs else { return None };
        self.call(machine, first, |x| {
            let norm = if let Attrs::Rmsnorm(attrs) = &first.attrs { Some((x, attrs)) } else { None };
            self.call(machine, last, |y| self.call(machine, node, |call| take(call, attrs, norm, conv.then_some(y))))
        })
    }

    fn describe_scan<T>(
        &self,
        machine: &Machine,
        nodes: &[Node],
        take: impl FnOnce(&Call, Compute, &Call, &ScanAttrs) -> Option<T>,
    ) -> Option<T> {
        let [product, scan] = nodes else { return None };
        let (Attrs::Linear(linear), Attrs::Scan(attrs)) = (&product.attrs, &scan.attrs) else { return None };
        self.call(machine, product, |low| self.call(machine, scan, |call| take(low, linear.compute, call, attrs)))
    }

    /// Describes a node to its op.
    pub(super) fn call<T>(&self, machine: &Machine, node: &Node, describe: impl FnOnce(&Call) -> T) -> T {
        let operand = |slot: &Place| {
            let base = match slot.base {
                Base::Temp => machine.temp.address(),
                Base::State => self.slot.buffer.address(),
                Base::Io => self.io.address(),
                Base::Weight(row) => self.weights[row].address(),
            };
            Operand { address: base + slot.start as u64, ld: slot.ld, dtype: slot.dtype }
        };
        let absent = |input: &Option<Place>| input.as_ref().map_or(Operand::ABSENT, operand);
        let (inputs, outputs): (Vec<_>, Vec<_>) = (node.inputs.iter().map(absent).collect(), node.outputs.iter().map(operand).collect());
        let node::Sizes { b, l, d, e, k, m, n, v, w } = node.sizes;
        let last_sample = self.nodes.iter().rposition(|node| matches!(node.attrs, Attrs::Sample(_)));
        describe(&Call {
            sizes: &Sizes { b, l, d, e, k, m, n, v, w },
            inputs: &inputs,
            outputs: &outputs,
            scratch: machine.scratch.address(),
            step: machine.words.address(),
            ticks: last_sample == Some(node.id as usize),
            fault: machine.words.address() + FAULT as u64,
            node: node.id,
            device: machine.device.facts(),
            gemm: machine.device.gemm(),
            whole: node.outputs.iter().all(|slot| slot.base == Base::Temp),
        })
    }
}

pub(super) fn places(machine: &Machine) -> [u64; 2] {
    [machine.temp.address(), machine.scratch.address()]
}
