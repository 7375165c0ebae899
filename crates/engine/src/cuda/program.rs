//! A loaded plan as launches.

mod launches;

use std::sync::Arc;

use statespace_ops::cuda;
use statespace_plan::ops::Compute;
use statespace_plan::{Attrs, Checked, CheckedNode};

use self::launches::{Launches, places};
use super::device::{Buffer, Graph, MARKS};
use super::fuse::{Group, groups, readers};
use super::narrow::narrow;
use super::resident::{self, Freight, Resident};
use super::state::{Slot, State};
use super::{FAULT, Machine, WORDS};
use crate::error::Error;
use crate::node::{Base, Node};
use crate::place::{POISON, Placement, is_whole, mark};
use crate::run::{Cursor, Pace};
use crate::weights::Weights;

/// Nanoseconds of work between two looks at an abort, about; so many again are in the queue.
const ROUND: u64 = 5_000_000;
/// Of programs above it, launching costs little beside their work, and an abort is to be seen between nodes.
const LONG: u64 = 2 * ROUND;

/// A loaded plan.
pub(crate) struct Program {
    nodes: Vec<Node>,
    groups: Vec<Group>,
    /// By node.
    readers: Vec<usize>,
    costs: Vec<Cost>,
    pub(crate) placement: Placement,
    pub(crate) io: Buffer,
    /// By row of the plan's `weights`; the checkpoint keeps them.
    weights: Vec<Resident>,
    _checkpoint: Option<Arc<Weights>>,
    slot: Arc<Slot>,
    /// Bytes of the largest node's.
    pub(crate) scratch: usize,
    launches: Launches,
    /// Whether every kernel has run once: the driver loads it then, which it could not in the midst of a capture.
    warm: bool,
    graph: Option<Graph>,
    guard: bool,
    /// By node and output; empty unless asked for.
    pub(crate) dumps: Vec<Vec<Vec<u8>>>,
}

/// What a node comes to.
#[derive(Clone, Copy)]
struct Cost {
    /// Bytes and floating-point operations.
    work: u64,
    nanoseconds: u64,
}

impl Cost {
    /// As a large GPU takes for it; `gemm` says whether it has fast products.
    fn new(node: &CheckedNode, gemm: bool) -> Cost {
        let (bytes, flops) = (node.bytes(), node.flops());
        let is_fast = gemm && matches!(node.attrs, Attrs::Linear(attrs) if attrs.compute == Compute::Bf16);
        let speed = if is_fast { 200_000 } else { 10_000 };
        Cost { work: bytes.saturating_add(flops), nanoseconds: 4_000 + (bytes / 2_000).saturating_add(flops / speed).min(1 << 40) }
    }
}

impl Program {
    pub(crate) fn new(plan: &Checked, weights: Option<&Arc<Weights>>, machine: &mut Machine) -> Result<Program, Error> {
        let placement = Placement::new(plan, machine.mode);
        if let (None, Some(row)) = (weights, plan.weights().first()) {
            return Err(Error::weights(&row.key, "is wanted, but the program has no weights"));
        }
        let nodes: Vec<Node> = plan.nodes().iter().map(|node| Node::new(node, &placement, 1)).collect();
        let freight = weights.map(|weights| Freight::new(weights, plan.weights())).transpose()?;
        let growth = placement.temp.saturating_sub(machine.temp.len());
        machine.room([freight.as_ref().map_or(0, |f| f.bytes), placement.io, placement.state, growth].iter().sum())?;
        if let Some(freight) = freight {
            freight.unload(&machine.device)?;
        }
        let io = Buffer::zeroed(&machine.device, placement.io)?;
        guard(&io, &placement, Base::Io)?;
        let slot = machine.slot(plan, &placement)?;
        // Each node by itself where what lies between them is looked at.
        let plain = machine.dump || machine.mode.guard;
        let dumps = |node: &Node| node.outputs.iter().map(|slot| vec![0; slot.span]).collect();
        let mut program = Program {
            groups: if plain { vec![Group::One; nodes.len()] } else { groups(plan, &nodes) },
            readers: readers(plan),
            costs: plan.nodes().iter().map(|node| Cost::new(node, machine.device.gemm())).collect(),
            weights: weights.map_or(Ok(Vec::new()), |weights| resident::bind(weights, plan.weights()))?,
            _checkpoint: weights.cloned(),
            dumps: if machine.dump { nodes.iter().map(dumps).collect() } else { Vec::new() },
            guard: machine.mode.guard,
            scratch: 0,
            launches: Launches::default(),
            warm: false,
            graph: None,
            nodes,
            placement,
            io,
            slot,
        };
        // A dump shows what the plan says.
        if !machine.dump {
            let may: Vec<[u32; 2]> =
                program.nodes.iter().map(|node| program.call(machine, node, |call| cuda::narrow(&node.attrs, call))).collect();
            narrow(&mut program.nodes, &may);
        }
        let needs = |node| program.call(machine, node, |call| cuda::scratch_bytes(&node.attrs, call));
        program.scratch = program.nodes.iter().map(needs).max().unwrap_or(0) as usize;
        program.launch_from(machine)?;
        Ok(program)
    }

    /// Zeros with the layout of the plan's state.
    pub(crate) fn state(&self, machine: &Machine) -> Result<State, Error> {
        let home = Buffer::zeroed(&machine.device, self.slot.buffer.len())?;
        guard(&home, &self.placement, Base::State)?;
        Ok(State::new(home, self.slot.clone()))
    }

    /// Goes on with a run until it is done, which gives true, or is to pause.
    pub(crate) fn advance(&mut self, machine: &Machine, state: &State, run: &mut Cursor, pace: &Pace) -> Result<bool, Error> {
        let device = &machine.device;
        let slot = state.activate()?;
        if self.launches.places != places(machine) {
            self.launch_from(machine)?;
        }
        if run.is_fresh() {
            machine.words.fill(0, WORDS, 0)?;
            if self.guard {
                machine.temp.fill(0, machine.temp.len(), POISON)?;
                guard(&machine.temp, &self.placement, Base::Temp)?;
            }
        }
        let is_short = self.costs.iter().map(|cost| cost.nanoseconds).sum::<u64>() < LONG && !self.guard && self.dumps.is_empty();
        let (mut done, mut queued, mut rounds) = (0, 0, 0);
        while let Some(id) = run.node(&self.nodes).map(|node| node.id as usize) {
            if !(pace.go_on)(done) {
                device.synchronize()?;
                return Ok(false);
            }
            if id == 0 && is_short && self.warm && self.graph.is_none() {
                self.graph = Some(Graph::new(device, &self.launches.steps)?);
            }
            let costs = match &self.graph {
                Some(graph) if id == 0 => {
                    graph.replay()?;
                    run.finish(self.nodes.len());
                    &self.costs[..]
                }
                _ => {
                    device.submit(&self.launches.steps[self.launches.ranges[id].clone()])?;
                    self.look(id, machine, &slot.buffer)?;
                    self.warm |= id + 1 == self.nodes.len();
                    run.next();
                    &self.costs[id..=id]
                }
            };
            for cost in costs {
                (done, queued) = (cost.work.saturating_add(done), queued + cost.nanoseconds);
            }
            if queued >= ROUND {
                // What was asked for a round ago is over before more is: the queue stays short.
                device.mark(rounds % MARKS)?;
                if rounds > 0 {
                    device.wait((rounds - 1) % MARKS)?;
                }
                (queued, rounds) = (0, rounds + 1);
            }
        }
        self.report(machine)?;
        Ok(true)
    }

    /// The error of a wrong id, if kernels have met one.
    fn report(&self, machine: &Machine) -> Result<(), Error> {
        let words = machine.words.get(FAULT, WORDS - FAULT)?;
        let word = |i: usize| i32::from_le_bytes(words.as_chunks().0[i]);
        let node = match word(0) {
            0 => return Ok(()),
            node => &self.nodes[node as usize - 1],
        };
        let limit = node.ids.map_or(0, |(_, limit)| limit);
        Err(Error::TokenRange { node: node.id, at: node.at.clone(), id: word(1), limit })
    }

    /// What is asked for after a node to hunt for mistakes.
    fn look(&mut self, id: usize, machine: &Machine, state: &Buffer) -> Result<(), Error> {
        let node = &self.nodes[id];
        for (slot, dump) in node.outputs.iter().zip(self.dumps.get_mut(id).into_iter().flatten()) {
            let buffer = if slot.base == Base::Io { &self.io } else { &machine.temp };
            *dump = buffer.get(slot.start, slot.span)?;
        }
        if !self.guard {
            return Ok(());
        }
        for (base, buffer) in [(Base::Temp, &machine.temp), (Base::State, state), (Base::Io, &self.io)] {
            for guard in self.placement.guards(base) {
                if !is_whole(&buffer.get(guard.start, crate::place::GUARD)?) {
                    return Err(Error::Guard { node: node.id, at: node.at.clone(), buffer: guard.buffer.clone() });
                }
            }
        }
        self.placement.dead(node.id).iter().try_for_each(|range| machine.temp.fill(range.start, range.len(), POISON))
    }
}

/// Writes the guards of a space, if there are any.
fn guard(buffer: &Buffer, placement: &Placement, base: Base) -> Result<(), Error> {
    if placement.guards(base).is_empty() {
        return Ok(());
    }
    let mut bytes = buffer.get(0, buffer.len())?;
    mark(&mut bytes, placement.guards(base));
    buffer.put(0, &bytes)
}
