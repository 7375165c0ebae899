//! What all programs of an engine share, by executor.

use crate::arena::Arena;
use crate::error::Error;
use crate::options::{DeviceInfo, Executor, Options};
use crate::place::Mode;
use crate::pool::Pool;
use crate::program::Program;
use crate::weights::Weights;
use crate::{cpu, cuda};

/// An executor and its memory.
pub(crate) enum Machine {
    Cpu(cpu::Machine),
    Cuda(cuda::Machine),
    Reference,
}

impl Machine {
    /// Starts the workers, or opens the device.
    pub(crate) fn new(options: &Options) -> Result<Machine, Error> {
        let (level, threads) = (options.level()?, options.thread_count()?);
        match options.executor {
            Executor::Reference if cfg!(feature = "reference") => Ok(Machine::Reference),
            Executor::Reference => Err(Error::option("this build has no reference executor")),
            Executor::Cuda => Ok(Machine::Cuda(cuda::Machine::new(options)?)),
            Executor::Cpu => Ok(Machine::Cpu(cpu::Machine {
                level,
                pool: Pool::new(threads)?,
                temp: Arena::zeroed(0)?,
                board: Arena::zeroed(0)?,
                mode: Mode { flat: options.flat, guard: options.guard },
                dump: options.dump,
            })),
        }
    }

    /// What computes.
    pub(crate) fn isa(&self) -> String {
        match self {
            Machine::Cpu(machine) => machine.level.name().to_owned(),
            Machine::Cuda(machine) => machine.isa(),
            Machine::Reference => "reference".to_owned(),
        }
    }

    /// The GPU.
    pub(crate) fn device(&self) -> Option<DeviceInfo> {
        match self {
            Machine::Cuda(machine) => Some(machine.info()),
            Machine::Cpu(_) | Machine::Reference => None,
        }
    }

    /// Where workers from outside find the pool; 0 if it needs none.
    #[cfg(target_family = "wasm")]
    pub(crate) fn pool(&self) -> usize {
        match self {
            Machine::Cpu(machine) => machine.pool.address(),
            Machine::Cuda(_) | Machine::Reference => 0,
        }
    }

    /// Sizes what programs share to the largest.
    pub(crate) fn fit<'a>(&mut self, programs: impl Iterator<Item = &'a Program>) -> Result<(), Error> {
        match self {
            Machine::Cpu(machine) => machine.fit(programs.filter_map(Program::cpu)),
            Machine::Cuda(machine) => machine.fit(programs.filter_map(Program::cuda)),
            Machine::Reference => Ok(()),
        }
    }

    /// Bytes of `temp`.
    pub(crate) fn temp_bytes(&self) -> usize {
        match self {
            Machine::Cpu(machine) => machine.temp.len(),
            Machine::Cuda(machine) => machine.temp_bytes(),
            Machine::Reference => 0,
        }
    }

    /// Bytes of what kernels work in.
    pub(crate) fn scratch_bytes(&self) -> usize {
        match self {
            Machine::Cpu(machine) => machine.pool.scratch_bytes() + machine.board.len(),
            Machine::Cuda(machine) => machine.scratch_bytes(),
            Machine::Reference => 0,
        }
    }

    /// Bytes of a checkpoint; on a GPU, where tensors come when they are first used, at least theirs.
    pub(crate) fn weights_bytes(&self, weights: &Weights) -> u64 {
        match self {
            Machine::Cpu(_) | Machine::Reference => weights.bytes(),
            Machine::Cuda(_) => weights.bytes().max(weights.residents.bytes() as u64),
        }
    }
}
