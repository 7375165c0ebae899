//! The executor with vector kernels.

use std::sync::Arc;

use statespace_plan::{Attrs, Checked, CheckedNode, Op, Place, Weight};
use statespace_simd::Level;

use crate::arena::{Arena, Job, Memory, fits};
use crate::error::Error;
use crate::kernels;
use crate::node::{Base, Node, check_ids};
use crate::place::{Mode, Placement, broken, mark, poison};
use crate::pool::Pool;
use crate::run::{Cursor, Pace};
use crate::weights::{Bound, Weights};

/// What all programs of an engine share.
pub(crate) struct Machine {
    pub(crate) level: Level,
    pub(crate) pool: Pool,
    pub(crate) temp: Arena,
    pub(crate) board: Arena,
    pub(crate) mode: Mode,
    pub(crate) dump: bool,
}

impl Machine {
    /// Makes `temp`, the scratch and the board as large as the largest of these programs needs.
    pub(crate) fn fit<'a>(&mut self, programs: impl Iterator<Item = &'a Program>) -> Result<(), Error> {
        let needs = programs.map(|p| [p.placement.temp, p.board, p.scratch]);
        let [temp, board, scratch] = needs.fold([0; 3], |most, needs| std::array::from_fn(|i| needs[i].max(most[i])));
        for (arena, bytes) in [(&mut self.temp, temp), (&mut self.board, board)] {
            if bytes != arena.len() {
                // The old one first: nothing in it is of use, and both may be more than there is.
                *arena = Arena::zeroed(0)?;
                *arena = Arena::zeroed(bytes)?;
            }
        }
        self.pool.set_scratch(scratch)
    }
}

/// A loaded plan.
pub(crate) struct Program {
    nodes: Vec<Node>,
    pub(crate) placement: Placement,
    pub(crate) io: Arena,
    weights: Vec<Bound>,
    /// Floats of each part.
    scratch: usize,
    /// Bytes of all.
    board: usize,
    guard: bool,
    /// By node and output; empty unless asked for.
    pub(crate) dumps: Vec<Vec<Vec<u8>>>,
}

impl Program {
    pub(crate) fn new(plan: &Checked, weights: Option<&Arc<Weights>>, machine: &Machine) -> Result<Program, Error> {
        let placement = Placement::new(plan, machine.mode);
        let threads = machine.pool.threads();
        let nodes: Vec<Node> = plan.nodes().iter().map(|node| Node::new(node, &placement, threads)).collect();
        assert!(plan.nodes().iter().all(fits), "an op of the table has more operands than a job");
        let bind = |(row, weight): (usize, &Weight)| {
            let weights = weights.ok_or_else(|| Error::weights(&plan.weights()[row].key, "is wanted, but the program has no weights"))?;
            weights.bind(weight, plan.nodes().iter().any(|node| wants_aligned(node, row)))
        };
        let bound = plan.weights().iter().enumerate().map(bind).collect::<Result<_, _>>()?;
        let mut io = Arena::zeroed(placement.io)?;
        mark(io.bytes_mut(), placement.guards(Base::Io));
        let dumps = |node: &Node| node.outputs.iter().map(|slot| vec![0; slot.span]).collect();
        Ok(Program {
            scratch: nodes.iter().map(kernels::scratch).max().unwrap_or(0),
            board: nodes.iter().map(kernels::board).max().unwrap_or(0).saturating_mul(4),
            dumps: if machine.dump { nodes.iter().map(dumps).collect() } else { Vec::new() },
            weights: bound,
            guard: machine.mode.guard,
            nodes,
            placement,
            io,
        })
    }

    /// Zeros with the layout of the plan's state.
    pub(crate) fn state(&self) -> Result<Arena, Error> {
        let mut arena = Arena::zeroed(self.placement.state)?;
        mark(arena.bytes_mut(), self.placement.guards(Base::State));
        Ok(arena)
    }

    /// Goes on with a run until it is done, which gives true, or is to pause.
    pub(crate) fn advance(&mut self, machine: &mut Machine, state: &mut Arena, run: &mut Cursor, pace: &Pace) -> Result<bool, Error> {
        let Machine { level, ref mut pool, ref mut temp, ref mut board, .. } = *machine;
        if self.guard && run.is_fresh() {
            poison(temp.bytes_mut());
            mark(temp.bytes_mut(), self.placement.guards(Base::Temp));
        }
        let mut done = 0;
        while let Some(node) = run.node(&self.nodes) {
            if !(pace.go_on)(done) {
                return Ok(false);
            }
            let mut memory = Memory { temp, state, io: &mut self.io, board, weights: &self.weights };
            let job = Job::new(&mut memory, node);
            if run.round == 0 {
                if let Some((input, limit)) = node.ids {
                    check_ids(node.id, &node.at, job.rows(), job.slice(input), limit)?;
                }
                (run.rounds, run.work) = node.rounds(job.rows(), pace.work);
            }
            let (step, first, parts) = (run.step, run.round * node.parts, run.rounds * node.parts);
            pool.run(node.parts, &|part, scratch| kernels::run(&job, level, step, first + part, parts, scratch));
            done = done.saturating_add(run.work);
            run.round += 1;
            if run.round < run.rounds {
                continue;
            }
            if kernels::has_second_pass(node) {
                pool.run(node.parts, &|part, _| kernels::second_pass(&job, part, node.parts));
            }
            if let Some(dumps) = self.dumps.get_mut(node.id as usize) {
                keep(node, &memory, dumps);
            }
            if self.guard {
                self.placement.check(node, &memory)?;
                self.placement.bury(node.id, temp.bytes_mut());
            }
            run.next();
        }
        Ok(true)
    }
}

impl Placement {
    fn check(&self, node: &Node, memory: &Memory) -> Result<(), Error> {
        let spaces = [(Base::Temp, &*memory.temp), (Base::State, &*memory.state), (Base::Io, &*memory.io)];
        let found = spaces.iter().find_map(|(base, arena)| broken(arena.bytes(), self.guards(*base)));
        found.map_or(Ok(()), |guard| Err(Error::Guard { node: node.id, at: node.at.clone(), buffer: guard.buffer.clone() }))
    }
}

/// Copies the outputs of a node before another takes their place.
fn keep(node: &Node, memory: &Memory, dumps: &mut [Vec<u8>]) {
    for (slot, dump) in node.outputs.iter().zip(dumps) {
        let arena = if slot.base == Base::Io { &*memory.io } else { &*memory.temp };
        dump.copy_from_slice(&arena.bytes()[slot.start..slot.start + slot.span]);
    }
}

/// Whether a node's kernel takes elements of this row of `weights`, not bytes.
fn wants_aligned(node: &CheckedNode, row: usize) -> bool {
    let bytes = match node.op {
        Op::Embed | Op::Linear | Op::LinearCrossEntropy => Some(1),
        Op::Cast => Some(0),
        _ => None,
    };
    let is_row = |place: Place| place == Place::Weight(row);
    node.inputs.iter().enumerate().any(|(i, input)| Some(i) != bytes && input.as_ref().is_some_and(|input| is_row(input.place)))
}

/// The most steps of a run: slots that `sample` nodes have for what they choose.
pub(crate) fn step_limit(plan: &Checked) -> Option<u32> {
    let slots = |node: &CheckedNode| match node.attrs {
        Attrs::Sample(attrs) => Some(attrs.steps),
        _ => None,
    };
    plan.nodes().iter().filter_map(slots).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Softplus of `x`, twice, by way of `temp`.
    const PLAN: &str = r#"{ "format": 1, "opset": "OPSET", "name": "twice", "spaces": { "temp": 256, "state": 0, "io": 512 }, "weights": [],
        "buffers": [{ "id": 0, "name": "x", "dtype": "f32", "shape": [1, 1, 3], "space": "io", "offset": 0, "bytes": 12 },
                    { "id": 1, "name": "h", "dtype": "f32", "shape": [1, 1, 3], "space": "temp", "offset": 0, "bytes": 12 },
                    { "id": 2, "name": "y", "dtype": "f32", "shape": [1, 1, 3], "space": "io", "offset": 256, "bytes": 12 }],
        "nodes": [{ "id": 0, "op": "softplus", "in": [0, null], "out": [1], "attrs": {}, "at": "first" },
                  { "id": 1, "op": "softplus", "in": [1, null], "out": [2], "attrs": {}, "at": "second" }],
        "inputs": { "x": 0 }, "outputs": { "y": 2 }, "state": {} }"#;

    #[test]
    fn guards_are_checked_after_every_node_and_dead_ranges_poisoned() {
        let plan = statespace_plan::check(&PLAN.replace("OPSET", statespace_plan::OPSET)).unwrap();
        let mode = Mode { flat: false, guard: true };
        let (pool, temp, board) = (Pool::new(1).unwrap(), Arena::zeroed(0).unwrap(), Arena::zeroed(0).unwrap());
        let mut machine = Machine { level: Level::best(), pool, temp, board, mode, dump: false };
        let mut program = Program::new(&plan, None, &machine).unwrap();
        machine.fit([&program].into_iter()).unwrap();
        let mut state = program.state().unwrap();
        assert_eq!(program.advance(&mut machine, &mut state, &mut Cursor::new(2), &Pace::FULL), Ok(true));
        assert_eq!(machine.temp.bytes()[..12], [0xFF; 12], "nobody reads h any more");
        // One byte behind x, as if a kernel had written it.
        program.io.bytes_mut()[12] ^= 1;
        let found = program.advance(&mut machine, &mut state, &mut Cursor::new(1), &Pace::FULL);
        assert_eq!(found, Err(Error::Guard { node: 0, at: "first".into(), buffer: "x".into() }));
    }
}
