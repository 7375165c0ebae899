//! Loaded plans and their states, whichever executor they are for: what is in them by name.

use std::collections::HashMap;
use std::sync::Arc;

use statespace_plan::{Checked, DType, Operand};

use crate::arena::Arena;
use crate::convert::{narrow, widen};
use crate::cpu::{self, step_limit};
use crate::cuda;
use crate::error::Error;
use crate::machine::Machine;
use crate::reference;
use crate::run::{Cursor, Pace};
use crate::weights::Weights;

/// A named buffer. Named buffers are whole, so their bytes are adjacent.
#[derive(Clone, Debug)]
struct Field {
    name: String,
    dtype: DType,
    shape: Vec<usize>,
    /// Where the plan puts it.
    offset: usize,
    root: u32,
    bytes: usize,
    /// Where it is.
    start: usize,
}

impl Field {
    fn new(name: &str, operand: &Operand, plan: &Checked, start: usize) -> Field {
        let offset = plan.placed().iter().find(|placed| placed.buffer == operand.root).map_or(0, |placed| placed.offset);
        Field {
            name: name.to_owned(),
            dtype: operand.dtype,
            shape: operand.shape.clone(),
            offset,
            root: operand.root,
            bytes: operand.span(),
            start,
        }
    }

    /// The bytes as they are written to the front of it.
    fn check(&self, bytes: &[u8]) -> Result<(), Error> {
        let size = self.dtype.size() as usize;
        if bytes.len() > self.bytes || !bytes.len().is_multiple_of(size) {
            let message = format!("{} bytes were given for {}, which has {} in elements of {size}", bytes.len(), self.name, self.bytes);
            return Err(Error::option(message));
        }
        Ok(())
    }

    fn get(&self, arena: &Arena) -> Vec<u8> {
        arena.bytes()[self.start..self.start + self.bytes].to_vec()
    }

    fn set(&self, arena: &mut Arena, bytes: &[u8]) {
        arena.bytes_mut()[self.start..self.start + bytes.len()].copy_from_slice(bytes);
    }

    fn set_wide(&self, values: &mut [f64], bytes: &[u8]) {
        widen(self.dtype, bytes, |i, value| values[i] = value);
    }
}

/// What a program's state is made of, by name.
#[derive(Debug)]
pub(crate) struct Layout(Vec<Field>);

impl Layout {
    /// The first difference that a caller would see, or a kernel.
    pub(crate) fn check(&self, given: &Layout) -> Result<(), Error> {
        let key = |field: &Field| format!("{} {}{:?} at {}", field.name, field.dtype.name(), field.shape, field.offset);
        let count = self.0.len().max(given.0.len());
        let (wanted, found) = (|i| self.0.get(i).map(key), |i| given.0.get(i).map(key));
        let same = |i: usize| match (self.0.get(i), given.0.get(i)) {
            (Some(a), Some(b)) => (&a.name, a.dtype, &a.shape, a.offset) == (&b.name, b.dtype, &b.shape, b.offset),
            _ => false,
        };
        if std::ptr::eq(self, given) {
            return Ok(());
        }
        (0..count).find(|i| !same(*i)).map_or(Ok(()), |i| {
            let show = |field: Option<String>| field.unwrap_or_else(|| "nothing".to_owned());
            Err(Error::StateLayout { message: format!("the state has {}, where the program wants {}", show(found(i)), show(wanted(i))) })
        })
    }

    fn find(&self, name: &str) -> Result<(usize, &Field), Error> {
        let found = self.0.iter().enumerate().find(|(_, field)| field.name == name);
        found.ok_or_else(|| Error::option(format!("the state has no buffer {name}")))
    }
}

enum Body {
    Cpu(cpu::Program),
    Cuda(Box<cuda::Program>),
    Reference(reference::Program),
}

/// A loaded plan.
pub(crate) struct Program {
    name: String,
    inputs: Vec<Field>,
    outputs: Vec<Field>,
    layout: Arc<Layout>,
    steps: Option<u32>,
    /// Types of the nodes' outputs.
    types: Vec<Vec<DType>>,
    body: Body,
}

/// One conversation's memory, or whatever a model keeps between runs.
pub(crate) struct State {
    layout: Arc<Layout>,
    values: Values,
}

enum Values {
    Bytes(Arena),
    Device(cuda::State),
    Wide(reference::State),
}

impl Program {
    /// Loads a plan.
    pub(crate) fn new(plan: &Checked, weights: Option<&Arc<Weights>>, machine: &mut Machine, dump: bool) -> Result<Program, Error> {
        let mut states: Vec<&(String, Operand)> = plan.state().iter().collect();
        states.sort_by(|a, b| a.0.cmp(&b.0));
        let body = match machine {
            Machine::Cpu(machine) => Body::Cpu(cpu::Program::new(plan, weights, machine)?),
            Machine::Cuda(machine) => Body::Cuda(Box::new(cuda::Program::new(plan, weights, machine)?)),
            Machine::Reference => {
                let positions: HashMap<u32, usize> = states.iter().enumerate().map(|(i, (_, operand))| (operand.root, i)).collect();
                Body::Reference(reference::Program::new(plan, weights, positions, dump)?)
            }
        };
        let field = |name: &str, operand: &Operand| {
            let start = match &body {
                Body::Cpu(program) => program.placement.start(operand.root),
                Body::Cuda(program) => program.placement.start(operand.root),
                Body::Reference(_) => 0,
            };
            Field::new(name, operand, plan, start)
        };
        Ok(Program {
            name: plan.name().to_owned(),
            inputs: plan.inputs().iter().map(|(name, operand)| field(name, operand)).collect(),
            outputs: plan.outputs().iter().map(|(name, operand)| field(name, operand)).collect(),
            layout: Arc::new(Layout(states.iter().map(|(name, operand)| field(name, operand)).collect())),
            steps: step_limit(plan),
            types: plan.nodes().iter().map(|node| node.outputs.iter().map(|output| output.dtype).collect()).collect(),
            body,
        })
    }

    /// The part that the CPU's machine runs.
    pub(crate) fn cpu(&self) -> Option<&cpu::Program> {
        if let Body::Cpu(program) = &self.body { Some(program) } else { None }
    }

    /// The part that a GPU runs.
    pub(crate) fn cuda(&self) -> Option<&cuda::Program> {
        if let Body::Cuda(program) = &self.body { Some(program) } else { None }
    }

    /// Bytes of inputs, outputs and dumps.
    pub(crate) fn io_bytes(&self) -> u64 {
        let bytes: usize = match &self.body {
            Body::Cpu(program) => program.io.len() + program.dumps.iter().flatten().map(Vec::len).sum::<usize>(),
            Body::Cuda(program) => program.io.len() + program.dumps.iter().flatten().map(Vec::len).sum::<usize>(),
            Body::Reference(program) => 8 * program.values.values().chain(program.dumps.iter().flatten()).map(Vec::len).sum::<usize>(),
        };
        bytes as u64
    }

    /// Zeros of the program's layout.
    pub(crate) fn state(&self, machine: &Machine) -> Result<State, Error> {
        let values = match (&self.body, machine) {
            (Body::Cpu(program), _) => Values::Bytes(program.state()?),
            (Body::Cuda(program), Machine::Cuda(machine)) => Values::Device(program.state(machine)?),
            (Body::Cuda(_), _) => unreachable!("programs of an engine are for its machine"),
            (Body::Reference(_), _) => {
                Values::Wide(self.layout.0.iter().map(|field| vec![0.0; field.bytes / field.dtype.size() as usize]).collect())
            }
        };
        Ok(State { layout: self.layout.clone(), values })
    }

    /// Whether it can run that many steps with that state. A program without state runs without one.
    pub(crate) fn check(&self, state: Option<&State>, steps: u32) -> Result<(), Error> {
        if let Some(limit) = self.steps.filter(|limit| steps > *limit) {
            return Err(Error::option(format!("steps is {steps}; program {} has room for {limit}", self.name)));
        }
        match state {
            Some(state) => self.layout.check(&state.layout),
            None if self.layout.0.is_empty() => Ok(()),
            None => Err(Error::StateLayout { message: format!("program {} needs a state", self.name) }),
        }
    }

    /// Goes on with a run that was checked, until it is done, which gives true, or is to pause.
    pub(crate) fn advance(
        &mut self,
        machine: &mut Machine,
        state: Option<&mut State>,
        run: &mut Cursor,
        pace: &Pace,
    ) -> Result<bool, Error> {
        let mut nothing = None;
        let state = match state {
            Some(state) => state,
            None => nothing.insert(self.state(machine)?),
        };
        match (&mut self.body, &mut state.values, machine) {
            (Body::Cpu(program), Values::Bytes(state), Machine::Cpu(machine)) => program.advance(machine, state, run, pace),
            (Body::Cuda(program), Values::Device(state), Machine::Cuda(machine)) => program.advance(machine, state, run, pace),
            (Body::Reference(program), Values::Wide(state), _) => program.advance(state, run, pace),
            _ => unreachable!("programs and states of one engine are for one executor"),
        }
    }

    /// Bytes of an input, an output, or `node.{id}.{output}`.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        if let Some(field) = self.inputs.iter().chain(&self.outputs).find(|field| field.name == name) {
            return match &self.body {
                Body::Cpu(program) => Ok(field.get(&program.io)),
                Body::Cuda(program) => program.io.get(field.start, field.bytes),
                Body::Reference(program) => Ok(narrow(field.dtype, &program.values[&field.root])),
            };
        }
        self.dump(name).ok_or_else(|| Error::option(format!("program {} has no input or output {name}", self.name)))
    }

    fn dump(&self, name: &str) -> Option<Vec<u8>> {
        let (node, output) = name.strip_prefix("node.")?.split_once('.')?;
        let (node, output): (usize, usize) = (node.parse().ok()?, output.parse().ok()?);
        match &self.body {
            Body::Cpu(program) => program.dumps.get(node)?.get(output).cloned(),
            Body::Cuda(program) => program.dumps.get(node)?.get(output).cloned(),
            Body::Reference(program) => Some(narrow(*self.types.get(node)?.get(output)?, program.dumps.get(node)?.get(output)?)),
        }
    }

    /// Writes the front of an input.
    pub(crate) fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let field = self.inputs.iter().find(|field| field.name == name);
        let field = field.ok_or_else(|| Error::option(format!("program {} has no input {name}", self.name)))?;
        field.check(bytes)?;
        match &mut self.body {
            Body::Cpu(program) => field.set(&mut program.io, bytes),
            Body::Cuda(program) => program.io.put(field.start, bytes)?,
            Body::Reference(program) => field.set_wide(program.values.entry(field.root).or_default(), bytes),
        }
        Ok(())
    }
}

impl State {
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = match &self.values {
            Values::Bytes(arena) => arena.len(),
            Values::Device(state) => state.len(),
            Values::Wide(values) => 8 * values.iter().map(Vec::len).sum::<usize>(),
        };
        bytes as u64
    }

    /// Bytes of a buffer.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let (i, field) = self.layout.find(name)?;
        Ok(match &self.values {
            Values::Bytes(arena) => field.get(arena),
            Values::Device(state) => state.place().get(field.start, field.bytes)?,
            Values::Wide(values) => narrow(field.dtype, &values[i]),
        })
    }

    /// Writes the front of a buffer.
    pub(crate) fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let (i, field) = self.layout.find(name)?;
        field.check(bytes)?;
        match &mut self.values {
            Values::Bytes(arena) => field.set(arena, bytes),
            Values::Device(state) => state.place().put(field.start, bytes)?,
            Values::Wide(values) => field.set_wide(&mut values[i], bytes),
        }
        Ok(())
    }

    /// Takes the values of a state of the same layout.
    pub(crate) fn copy_from(&mut self, from: &State) -> Result<(), Error> {
        self.layout.check(&from.layout)?;
        match (&mut self.values, &from.values) {
            (Values::Bytes(to), Values::Bytes(from)) => to.bytes_mut().copy_from_slice(from.bytes()),
            (Values::Device(to), Values::Device(from)) => to.copy_from(from)?,
            (Values::Wide(to), Values::Wide(from)) => to.clone_from(from),
            _ => unreachable!("states of one engine are for one executor"),
        }
        Ok(())
    }
}
