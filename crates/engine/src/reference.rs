//! The executor that is the definition: f64, a vector for each buffer, no plan of memory, no vectors, no threads.

use std::collections::HashMap;
use std::sync::Arc;

use statespace_ops::{Mat, Rows};
use statespace_ops::{add, cast, conv1d_silu, embed, linear, linear_cross_entropy, rmsnorm, sample, scan, softplus, sum_rows, transpose};
use statespace_plan::{Attrs, Checked, CheckedNode, Operand, Place};

use crate::error::Error;
use crate::node::{Sizes, check_ids, ids, lens};
use crate::run::{Cursor, Pace};
use crate::weights::Weights;

/// A loaded plan.
pub(crate) struct Program {
    nodes: Vec<CheckedNode>,
    /// Values of placed buffers of `temp` and `io`, by id.
    pub(crate) values: HashMap<u32, Vec<f64>>,
    /// Position in the state, by id.
    states: HashMap<u32, usize>,
    weights: Vec<Arc<Vec<f64>>>,
    /// By node and output; empty unless asked for.
    pub(crate) dumps: Vec<Vec<Vec<f64>>>,
}

/// Values of the state's buffers, in the order of the layout.
pub(crate) type State = Vec<Vec<f64>>;

impl Program {
    /// `states` says where in the state each buffer is.
    pub(crate) fn new(plan: &Checked, weights: Option<&Arc<Weights>>, states: HashMap<u32, usize>, dump: bool) -> Result<Program, Error> {
        let widen = |row: &statespace_plan::Weight| {
            let weights = weights.ok_or_else(|| Error::weights(&row.key, "is wanted, but the program has no weights"))?;
            weights.widened(row)
        };
        let operands = plan.nodes().iter().flat_map(|node| node.inputs.iter().flatten().chain(&node.outputs));
        let mut values: HashMap<u32, Vec<f64>> = HashMap::new();
        for (operand, fill) in operands.map(|o| (o, f64::NAN)).chain(plan.inputs().iter().chain(plan.outputs()).map(|(_, o)| (o, 0.0))) {
            if let Place::Temp { .. } | Place::Io { .. } = operand.place
                && let Some(placed) = plan.placed().iter().find(|placed| placed.buffer == operand.root)
            {
                let size = placed.bytes / operand.dtype.size() as usize;
                // What has no value yet is NaN, so that reading it shows; what the caller may read before the first run is 0, as elsewhere.
                values.entry(operand.root).and_modify(|v| v.fill(fill)).or_insert_with(|| vec![fill; size]);
            }
        }
        let dumps = |node: &CheckedNode| node.outputs.iter().map(|output| vec![0.0; output.len()]).collect();
        Ok(Program {
            nodes: plan.nodes().to_vec(),
            values,
            states,
            weights: plan.weights().iter().map(widen).collect::<Result<_, _>>()?,
            dumps: if dump { plan.nodes().iter().map(dumps).collect() } else { Vec::new() },
        })
    }

    /// Goes on with a run until it is done, which gives true, or is to pause.
    pub(crate) fn advance(&mut self, state: &mut State, run: &mut Cursor, pace: &Pace) -> Result<bool, Error> {
        let mut done = 0;
        while let Some(node) = run.node(&self.nodes) {
            if !(pace.go_on)(done) {
                return Ok(false);
            }
            done = done.saturating_add(node.bytes().saturating_add(node.flops()));
            let job = Run { program: self, state, node, sizes: Sizes::new(node) };
            job.check()?;
            let written = job.compute(run.step);
            let id = node.id as usize;
            let outputs = node.outputs.clone();
            let updates = node.op.signature().updates.iter().filter_map(|input| node.inputs[*input].clone()).collect::<Vec<_>>();
            for (k, (operand, values)) in outputs.iter().chain(&updates).zip(&written).enumerate() {
                self.store(state, operand, values);
                if k < outputs.len() && !self.dumps.is_empty() {
                    self.dumps[id][k].copy_from_slice(values);
                }
            }
            run.next();
        }
        Ok(true)
    }

    fn store(&mut self, state: &mut State, operand: &Operand, values: &[f64]) {
        let root = match self.states.get(&operand.root) {
            Some(at) => &mut state[*at],
            None => self.values.get_mut(&operand.root).unwrap_or_else(|| panic!("buffer {} has no values", operand.root)),
        };
        let start = operand.byte / operand.dtype.size() as usize;
        root[start..start + values.len()].copy_from_slice(values);
    }
}

/// One run of a node. Operands are named by their positions in `spec/ops.json`.
struct Run<'a> {
    program: &'a Program,
    state: &'a State,
    node: &'a CheckedNode,
    sizes: Sizes,
}

impl<'a> Run<'a> {
    fn values(&self, operand: &Operand) -> &'a [f64] {
        let root: &[f64] = match operand.place {
            Place::Weight(row) => &self.program.weights[row],
            Place::State { .. } => &self.state[self.program.states[&operand.root]],
            Place::Temp { .. } | Place::Io { .. } => &self.program.values[&operand.root],
        };
        let size = operand.dtype.size() as usize;
        &root[operand.byte / size..][..operand.span() / size]
    }

    fn optional(&self, i: usize) -> Option<&'a [f64]> {
        self.node.inputs[i].as_ref().map(|operand| self.values(operand))
    }

    fn slice(&self, i: usize) -> &'a [f64] {
        self.optional(i).unwrap_or_else(|| panic!("{} has no input {i}", self.node.op.name()))
    }

    fn optional_mat(&self, i: usize) -> Option<Mat<'a, f64>> {
        let ld = self.node.inputs[i].as_ref()?.ld;
        self.optional(i).map(|data| Mat { data, ld })
    }

    fn mat(&self, i: usize) -> Mat<'a, f64> {
        self.optional_mat(i).unwrap_or_else(|| panic!("{} has no input {i}", self.node.op.name()))
    }

    fn ints(&self, i: usize) -> Vec<i32> {
        self.slice(i).iter().map(|v| *v as i32).collect()
    }

    fn dtype(&self, i: usize) -> statespace_plan::DType {
        self.node.inputs[i].as_ref().map_or(statespace_plan::DType::F32, |operand| operand.dtype)
    }

    fn lens(&self) -> Option<Vec<i32>> {
        lens(self.node.op).filter(|i| self.node.inputs[*i].is_some()).map(|i| self.ints(i))
    }

    fn check(&self) -> Result<(), Error> {
        let Some((input, limit)) = ids(self.node) else { return Ok(()) };
        let lens = self.lens();
        let rows = Rows { b: self.sizes.b, l: self.sizes.l, lens: lens.as_deref() };
        check_ids(self.node.id, &self.node.at, rows, &self.ints(input), limit)
    }

    /// Outputs, then updated inputs in the order of the table. What no valid row writes stays as it was.
    fn compute(&self, step: usize) -> Vec<Vec<f64>> {
        let lens = self.lens();
        let s = &self.sizes;
        let rows = Rows { b: s.b, l: s.l, lens: lens.as_deref() };
        let mut y = self.node.outputs.first().map_or(Vec::new(), |output| self.values(output).to_vec());
        match self.node.attrs {
            Attrs::Embed => embed::reference(rows, s.d, &self.ints(0), self.slice(1), &mut y),
            Attrs::Rmsnorm(attrs) => rmsnorm::reference(rows, s.d, self.mat(0), self.optional(1), attrs.eps.into(), &mut y),
            Attrs::Linear(attrs) => {
                let (x, weight, dtype, bias, residual) = (self.mat(0), self.slice(1), self.dtype(1), self.optional(2), self.optional(3));
                let op = linear::Reference { rows, k: s.k, m: s.m, compute: attrs.compute, x, weight, dtype, bias, residual };
                linear::reference(&op, &mut y);
            }
            Attrs::Conv1dSilu => {
                let mut state = self.slice(3).to_vec();
                conv1d_silu::reference(rows, s.e, s.w, self.mat(0), self.slice(1), self.optional(2), &mut state, &mut y);
                return vec![y, state];
            }
            Attrs::Scan(attrs) => {
                let mut state = self.slice(8).to_vec();
                let op = scan::Reference {
                    rows,
                    e: s.e,
                    n: s.n,
                    groups: attrs.groups as usize,
                    softplus: attrs.softplus,
                    u: self.mat(0),
                    dt: self.mat(1),
                    a: self.slice(2),
                    b: self.mat(3),
                    c: self.mat(4),
                    d: self.optional(5),
                    z: self.optional_mat(6),
                    dt_bias: self.optional(7),
                };
                scan::reference(&op, &mut state, &mut y);
                return vec![y, state];
            }
            Attrs::Add => add::reference(rows, s.d, self.slice(0), self.slice(1), &mut y),
            Attrs::Cast(attrs) => cast::reference(rows, s.d, self.mat(0), attrs.to, &mut y),
            Attrs::Transpose => transpose::reference(s.b, s.l, s.d, self.slice(0), &mut y),
            Attrs::Softplus => softplus::reference(rows, s.d, self.mat(0), &mut y),
            Attrs::SumRows => {
                let mut acc = self.slice(1).to_vec();
                sum_rows::reference(rows, s.d, self.slice(0), &mut acc);
                return vec![acc];
            }
            Attrs::LinearCrossEntropy(attrs) => {
                let (x, weight, dtype, targets) = (self.mat(0), self.slice(1), self.dtype(1), self.ints(2));
                let vocab = if attrs.vocab == 0 { s.m } else { attrs.vocab as usize };
                let op =
                    linear_cross_entropy::Reference { rows, k: s.k, vocab, compute: attrs.compute, x, weight, dtype, targets: &targets };
                linear_cross_entropy::reference(&op, &mut y);
            }
            Attrs::Sample(attrs) => return self.sample(attrs, step, y),
        }
        vec![y]
    }

    fn sample(&self, attrs: statespace_plan::ops::SampleAttrs, step: usize, token: Vec<f64>) -> Vec<Vec<f64>> {
        let mut token: Vec<i32> = token.iter().map(|v| *v as i32).collect();
        let mut logprob = self.values(&self.node.outputs[1]).to_vec();
        let (mut tokens, mut lens, eos) = (self.ints(1), self.ints(2), self.ints(5));
        let mut rng: Vec<u32> = self.slice(3).iter().map(|v| *v as u32).collect();
        let mut seen: Vec<u8> = self.slice(6).iter().map(|v| *v as u8).collect();
        let (b, v, vocab, steps) = (self.sizes.b, self.sizes.v, attrs.vocab as usize, attrs.steps as usize);
        let op = sample::Reference { b, v, vocab, steps, step, logits: self.slice(0), sampler: self.slice(4), eos: &eos };
        let state = sample::State { tokens: &mut tokens, lens: &mut lens, rng: &mut rng, seen: &mut seen };
        sample::reference(&op, state, &mut token, &mut logprob);
        let wide = |ints: &[i32]| ints.iter().map(|v| f64::from(*v)).collect();
        let words = rng.iter().map(|v| f64::from(*v)).collect();
        vec![wide(&token), logprob, wide(&tokens), wide(&lens), words, seen.iter().map(|v| f64::from(*v)).collect()]
    }
}
