//! What an engine owns and does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use statespace_plan::{Checked, Space, check, read};

use crate::error::Error;
use crate::machine::Machine;
use crate::options::{Bytes, EngineInfo, Options};
use crate::program::{Program, State};
use crate::run::{Cursor, Pace};
use crate::weights::Weights;

/// A run that has begun.
pub(crate) struct Run {
    program: u32,
    state: Option<u32>,
    at: Cursor,
}

/// Everything of an engine.
pub(crate) struct Core {
    machine: Machine,
    dump: bool,
    weights: HashMap<u32, Arc<Weights>>,
    /// Also those that were released and live on in programs.
    all_weights: Vec<Weak<Weights>>,
    programs: HashMap<u32, Program>,
    states: HashMap<u32, State>,
    /// Of the handle given out last.
    last: u32,
    info: Arc<Mutex<EngineInfo>>,
}

impl Core {
    /// Starts the executor; keeps `info` up to date.
    pub(crate) fn new(options: &Options, info: Arc<Mutex<EngineInfo>>) -> Result<Core, Error> {
        let machine = Machine::new(options)?;
        let (isa, threads) = (machine.isa(), options.thread_count()?);
        *info.lock().unwrap_or_else(PoisonError::into_inner) =
            EngineInfo { isa, threads, device: machine.device(), bytes: Bytes::default() };
        Ok(Core {
            machine,
            dump: options.dump,
            weights: HashMap::new(),
            all_weights: Vec::new(),
            programs: HashMap::new(),
            states: HashMap::new(),
            last: 0,
            info,
        })
    }

    /// Where workers from outside find the pool; 0 if it needs none.
    #[cfg(target_family = "wasm")]
    pub(crate) fn pool(&self) -> usize {
        self.machine.pool()
    }

    /// A handle for what is yet to come.
    pub(crate) fn next(&mut self) -> u32 {
        self.last = self.last.checked_add(1).expect("handles are used up");
        self.last
    }

    /// Takes in a checkpoint under a handle that was given out for it.
    pub(crate) fn adopt(&mut self, handle: u32, weights: Weights) {
        let weights = Arc::new(weights);
        self.all_weights.push(Arc::downgrade(&weights));
        self.weights.insert(handle, weights);
        self.count();
    }

    pub(crate) fn first_non_finite(&self, weights: u32) -> Result<Option<String>, Error> {
        Ok(self.weights.get(&weights).ok_or(missing(weights, "checkpoint"))?.first_non_finite())
    }

    pub(crate) fn load(&mut self, plan: &str, weights: Option<u32>) -> Result<u32, Error> {
        let weights = match weights {
            Some(handle) => Some(self.weights.get(&handle).ok_or(missing(handle, "checkpoint"))?),
            None => None,
        };
        let program = Program::new(&checked(plan)?, weights, &mut self.machine, self.dump)?;
        let handle = self.next();
        self.programs.insert(handle, program);
        if let Err(error) = self.fit() {
            self.programs.remove(&handle);
            // What fitted before fits again.
            self.fit()?;
            return Err(error);
        }
        Ok(handle)
    }

    pub(crate) fn state(&mut self, program: u32) -> Result<u32, Error> {
        let state = self.programs.get(&program).ok_or(missing(program, "program"))?.state(&self.machine)?;
        let handle = self.next();
        self.states.insert(handle, state);
        self.count();
        Ok(handle)
    }

    /// Begins a run, which is then to be gone on with; refuses what cannot be run.
    pub(crate) fn begin(&self, program: u32, state: Option<u32>, steps: u32) -> Result<Run, Error> {
        let found = self.programs.get(&program).ok_or(missing(program, "program"))?;
        let with = match state {
            Some(handle) => Some(self.states.get(&handle).ok_or(missing(handle, "state"))?),
            None => None,
        };
        found.check(with, steps)?;
        Ok(Run { program, state, at: Cursor::new(steps) })
    }

    /// Goes on with a run until it is done, which gives true, or is to pause.
    pub(crate) fn advance(&mut self, run: &mut Run, pace: &Pace) -> Result<bool, Error> {
        let program = self.programs.get_mut(&run.program).ok_or(missing(run.program, "program"))?;
        let state = match run.state {
            Some(handle) => Some(self.states.get_mut(&handle).ok_or(missing(handle, "state"))?),
            None => None,
        };
        program.advance(&mut self.machine, state, &mut run.at, pace)
    }

    pub(crate) fn copy_state(&mut self, to: u32, from: u32) -> Result<(), Error> {
        if to == from {
            return self.states.get(&to).map(|_| ()).ok_or(missing(to, "state"));
        }
        match self.states.get_disjoint_mut([&to, &from]) {
            [Some(to), Some(from)] => to.copy_from(from),
            [None, _] => Err(missing(to, "state")),
            [_, None] => Err(missing(from, "state")),
        }
    }

    pub(crate) fn read(&self, target: u32, name: &str) -> Result<Vec<u8>, Error> {
        match (self.programs.get(&target), self.states.get(&target)) {
            (Some(program), _) => program.read(name),
            (_, Some(state)) => state.read(name),
            (None, None) => Err(missing(target, "program or state")),
        }
    }

    pub(crate) fn write(&mut self, target: u32, name: &str, bytes: &[u8]) -> Result<(), Error> {
        match (self.programs.get_mut(&target), self.states.get_mut(&target)) {
            (Some(program), _) => program.write(name, bytes),
            (_, Some(state)) => state.write(name, bytes),
            (None, None) => Err(missing(target, "program or state")),
        }
    }

    /// Frees what the handle stands for; programs keep their weights.
    pub(crate) fn release(&mut self, handle: u32) -> Result<(), Error> {
        self.weights.remove(&handle);
        self.states.remove(&handle);
        // Dropped here, before what is left is counted.
        let was_program = self.programs.remove(&handle).is_some();
        if was_program {
            return self.fit();
        }
        self.count();
        Ok(())
    }

    /// Sizes what programs share to the largest.
    fn fit(&mut self) -> Result<(), Error> {
        let result = self.machine.fit(self.programs.values());
        self.count();
        result
    }

    fn count(&mut self) {
        self.all_weights.retain(|weights| weights.strong_count() > 0);
        let bytes = Bytes {
            weights: self.all_weights.iter().filter_map(Weak::upgrade).map(|weights| self.machine.weights_bytes(&weights)).sum(),
            temp: self.machine.temp_bytes() as u64,
            state: self.states.values().map(State::bytes).sum(),
            io: self.programs.values().map(Program::io_bytes).sum(),
            scratch: self.machine.scratch_bytes() as u64,
        };
        self.info.lock().unwrap_or_else(PoisonError::into_inner).bytes = bytes;
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.info.lock().unwrap_or_else(PoisonError::into_inner).bytes = Bytes::default();
    }
}

/// The plan, if it is good; of one that is good but for this machine's addresses, what it would take.
fn checked(text: &str) -> Result<Checked, Error> {
    check(text).map_err(|issues| match (issues.as_slice(), read(text)) {
        ([issue], Ok(plan)) if issue.code == "too_large" => {
            let spaces = [Space::Temp, Space::State, Space::Io].map(|space| plan.spaces.bytes(space));
            let weights = plan.weights.iter().map(|row| row.shape.iter().fold(row.dtype.size(), |size, axis| size.saturating_mul(*axis)));
            Error::Memory { needed: spaces.into_iter().chain(weights).fold(0, u64::saturating_add) }
        }
        _ => issues.into(),
    })
}

fn missing(handle: u32, kind: &'static str) -> Error {
    Error::Handle { handle, kind }
}
