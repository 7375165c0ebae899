//! A device that is none, for tests: memory of the host, kernels run by the emulator of `statespace-ops`, one thread after the other.

#[cfg(emulated)]
#[allow(unsafe_code)]
#[path = "../../../ops/src/cuda/emulator.rs"]
mod emulator;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use statespace_ops::cuda::{Device as Facts, NOT_EMULATED, Step};

use super::device::{Device, MARKS};
use crate::arena::Arena;
use crate::error::Error;
use crate::options::DeviceInfo;

/// Bytes that it says it has.
const MEMORY: usize = 4 << 30;
/// Bytes behind an allocation that nobody may write, and what they hold; allocated bytes hold the same.
const RED: usize = 256;
const RED_BYTE: u8 = 0xFF;

#[cfg(emulated)]
fn run(steps: &[Step]) -> Result<(), Error> {
    emulator::run(steps, false).map_err(|message| Error::Device { message })
}

#[cfg(not(emulated))]
fn run(_: &[Step]) -> Result<(), Error> {
    unreachable!("nothing is opened without the emulator")
}

pub(super) struct Emulated {
    info: DeviceInfo,
    machine: Mutex<Machine>,
}

#[derive(Default)]
struct Machine {
    /// By address.
    memory: BTreeMap<u64, Arena>,
    graphs: HashMap<u64, Vec<Step>>,
    next: u64,
    marked: [bool; MARKS],
}

impl Machine {
    /// Bytes of an allocation; what lies outside of all is a mistake of the executor.
    fn bytes(&mut self, at: u64, bytes: usize) -> &mut [u8] {
        let (start, arena) = self.memory.range_mut(..=at).next_back().expect("no memory below that address");
        let start = (at - start) as usize;
        &mut arena.bytes_mut()[start..start + bytes]
    }
}

impl Emulated {
    /// A fresh one, where there was a compiler to make the emulator with.
    pub(super) fn open() -> Result<Emulated, Error> {
        match NOT_EMULATED {
            None => Ok(Emulated { info: info(), machine: Mutex::default() }),
            Some(reason) => Err(Error::NoDevice { message: reason.to_owned() }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn info() -> DeviceInfo {
    DeviceInfo {
        index: 0,
        name: "emulator".to_owned(),
        memory: MEMORY as u64,
        free: Some(MEMORY as u64),
        capability: "9.0".to_owned(),
        driver: "none".to_owned(),
    }
}

impl Device for Emulated {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn facts(&self) -> Facts {
        // Few, so that kernels that walk their work in strides do so in small cases.
        Facts { multiprocessors: 8, shared_per_block_optin: 227 << 10, capability: (9, 0) }
    }

    fn gemm(&self) -> bool {
        true
    }

    fn free(&self) -> Result<u64, Error> {
        let used: usize = self.lock().memory.values().map(Arena::len).sum();
        Ok(MEMORY.saturating_sub(used) as u64)
    }

    fn alloc(&self, bytes: usize) -> Result<u64, Error> {
        if bytes as u64 > self.free()? {
            return Err(Error::Memory { needed: bytes as u64 });
        }
        let mut arena = Arena::zeroed(bytes + RED)?;
        // Nobody is promised zeros.
        arena.bytes_mut().fill(RED_BYTE);
        let address = arena.as_mut_ptr().expose_provenance() as u64;
        self.lock().memory.insert(address, arena);
        Ok(address)
    }

    fn dealloc(&self, address: u64) {
        let arena = self.lock().memory.remove(&address).expect("it is freed once");
        let red = &arena.bytes()[arena.len() - RED..];
        if red.iter().any(|byte| *byte != RED_BYTE) {
            // A panic would be lost where the engine is dropped.
            eprintln!("a kernel wrote past an allocation");
            std::process::abort();
        }
    }

    fn upload(&self, to: u64, bytes: &[u8]) -> Result<(), Error> {
        self.lock().bytes(to, bytes.len()).copy_from_slice(bytes);
        Ok(())
    }

    fn download(&self, from: u64, bytes: &mut [u8]) -> Result<(), Error> {
        bytes.copy_from_slice(self.lock().bytes(from, bytes.len()));
        Ok(())
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), Error> {
        let mut machine = self.lock();
        let bytes = machine.bytes(from, bytes).to_vec();
        machine.bytes(to, bytes.len()).copy_from_slice(&bytes);
        Ok(())
    }

    fn fill(&self, to: u64, bytes: usize, value: u8) -> Result<(), Error> {
        self.lock().bytes(to, bytes).fill(value);
        Ok(())
    }

    fn prepare(&self, _: &[Step]) -> Result<(), Error> {
        Ok(())
    }

    fn submit(&self, steps: &[Step]) -> Result<(), Error> {
        run(steps)
    }

    fn capture(&self, steps: &[Step]) -> Result<u64, Error> {
        let mut machine = self.lock();
        machine.next += 1;
        let graph = machine.next;
        machine.graphs.insert(graph, steps.to_vec());
        Ok(graph)
    }

    fn replay(&self, graph: u64) -> Result<(), Error> {
        let steps = self.lock().graphs[&graph].clone();
        self.submit(&steps)
    }

    fn discard(&self, graph: u64) {
        self.lock().graphs.remove(&graph).expect("it is discarded once");
    }

    fn mark(&self, place: usize) -> Result<(), Error> {
        self.lock().marked[place] = true;
        Ok(())
    }

    fn wait(&self, place: usize) -> Result<(), Error> {
        assert!(self.lock().marked[place], "only marks are waited for");
        Ok(())
    }

    fn synchronize(&self) -> Result<(), Error> {
        Ok(())
    }
}
