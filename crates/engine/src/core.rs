//! What the engine thread owns and does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use statespace_plan::check;

use crate::arena::Arena;
use crate::cpu::Machine;
use crate::error::Error;
use crate::options::{Bytes, EngineInfo, Executor, Options};
use crate::place::Mode;
use crate::pool::Pool;
use crate::program::{Program, State};
use crate::weights::{Source, Weights};

/// Everything of an engine.
pub(crate) struct Core {
    machine: Option<Machine>,
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
    /// Starts the workers; keeps `info` up to date.
    pub(crate) fn new(options: &Options, info: Arc<Mutex<EngineInfo>>) -> Result<Core, Error> {
        let (level, threads) = (options.level()?, options.thread_count()?);
        let machine = match options.executor {
            Executor::Reference => None,
            Executor::Cpu => Some(Machine {
                level,
                pool: Pool::new(threads)?,
                temp: Arena::zeroed(0)?,
                mode: Mode { flat: options.flat, guard: options.guard },
                dump: options.dump,
            }),
        };
        let isa = if machine.is_some() { level.name() } else { "reference" };
        *info.lock().unwrap_or_else(PoisonError::into_inner) = EngineInfo { isa: isa.to_owned(), threads, bytes: Bytes::default() };
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

    fn next(&mut self) -> u32 {
        self.last = self.last.checked_add(1).expect("handles are used up");
        self.last
    }

    pub(crate) fn open(&mut self, source: Source) -> Result<u32, Error> {
        let weights = Arc::new(Weights::open(source)?);
        let handle = self.next();
        self.all_weights.push(Arc::downgrade(&weights));
        self.weights.insert(handle, weights);
        self.count();
        Ok(handle)
    }

    pub(crate) fn first_non_finite(&self, weights: u32) -> Result<Option<String>, Error> {
        Ok(self.weights.get(&weights).ok_or(missing(weights, "checkpoint"))?.first_non_finite())
    }

    pub(crate) fn load(&mut self, plan: &str, weights: Option<u32>) -> Result<u32, Error> {
        let weights = match weights {
            Some(handle) => Some(self.weights.get(&handle).ok_or(missing(handle, "checkpoint"))?),
            None => None,
        };
        let program = Program::new(&check(plan)?, weights, self.machine.as_ref(), self.dump)?;
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
        let state = self.programs.get(&program).ok_or(missing(program, "program"))?.state()?;
        let handle = self.next();
        self.states.insert(handle, state);
        self.count();
        Ok(handle)
    }

    pub(crate) fn run(&mut self, program: u32, state: Option<u32>, steps: u32, stop: &dyn Fn() -> bool) -> Result<(), Error> {
        let program = self.programs.get_mut(&program).ok_or(missing(program, "program"))?;
        let state = match state {
            Some(handle) => Some(self.states.get_mut(&handle).ok_or(missing(handle, "state"))?),
            None => None,
        };
        program.run(self.machine.as_mut(), state, steps, stop)
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
        let result = match &mut self.machine {
            Some(machine) => machine.fit(self.programs.values().filter_map(Program::cpu)),
            None => Ok(()),
        };
        self.count();
        result
    }

    fn count(&mut self) {
        self.all_weights.retain(|weights| weights.strong_count() > 0);
        let bytes = Bytes {
            weights: self.all_weights.iter().filter_map(Weak::upgrade).map(|weights| weights.bytes()).sum(),
            temp: self.machine.as_ref().map_or(0, |machine| machine.temp.len()) as u64,
            state: self.states.values().map(State::bytes).sum(),
            io: self.programs.values().map(Program::io_bytes).sum(),
            scratch: self.machine.as_ref().map_or(0, |machine| machine.pool.scratch_bytes()) as u64,
        };
        self.info.lock().unwrap_or_else(PoisonError::into_inner).bytes = bytes;
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.info.lock().unwrap_or_else(PoisonError::into_inner).bytes = Bytes::default();
    }
}

fn missing(handle: u32, kind: &'static str) -> Error {
    Error::Handle { handle, kind }
}
