//! An engine on the caller's thread, whose runs are done piece by piece.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::core::{Core, Run};
use crate::error::Error;
use crate::options::{EngineInfo, Options};
use crate::run::Pace;
use crate::weights::{Bytes, Directory, TensorSource, Weights};

/// An engine whose calls do their work before they return, for hosts without threads or with an event loop to go back to. A run is begun, advanced
/// as often as it takes, and over: in between the caller may do other things or cancel it. While a run is begun, calls that could change what
/// it works on ([`load`](Self::load), [`write`](Self::write), [`copy_state`](Self::copy_state), [`release`](Self::release) and a second
/// [`start`](Self::start)) are refused; a queue of calls is the caller's.
///
/// ```
/// use statespace_engine::{Direct, Options};
///
/// let mut engine = Direct::open(&Options::default())?;
/// assert_eq!(engine.load("{}", None).unwrap_err().code(), "plan");
/// # Ok::<(), statespace_engine::Error>(())
/// ```
pub struct Direct {
    core: Core,
    info: Arc<Mutex<EngineInfo>>,
    reserved: HashMap<u32, Reserved>,
    run: Option<Run>,
}

/// A checkpoint whose bytes are yet to come.
struct Reserved {
    files: Vec<Reservation>,
    directory: Directory,
}

/// A file: how long it will be, and what is there of it.
struct Reservation {
    size: usize,
    bytes: Vec<u8>,
}

impl Reservation {
    fn new(size: u64) -> Option<Reservation> {
        let (size, mut bytes) = (usize::try_from(size).ok()?, Vec::new());
        bytes.try_reserve_exact(size).ok()?;
        Some(Reservation { size, bytes })
    }

    /// Puts bytes in their place, whole and within the file, or not at all.
    fn fill(&mut self, offset: u64, bytes: &[u8]) -> Option<()> {
        let start = usize::try_from(offset).ok()?;
        start.checked_add(bytes.len()).filter(|end| *end <= self.size)?;
        // In order, as they come, nothing is written twice.
        self.bytes.resize(self.bytes.len().max(start), 0);
        let (over, beyond) = bytes.split_at(bytes.len().min(self.bytes.len() - start));
        self.bytes[start..][..over.len()].copy_from_slice(over);
        self.bytes.extend_from_slice(beyond);
        Some(())
    }
}

impl Direct {
    /// Opens an engine.
    pub fn open(options: &Options) -> Result<Direct, Error> {
        let info = Arc::default();
        Ok(Direct { core: Core::new(options, Arc::clone(&info))?, info, reserved: HashMap::new(), run: None })
    }

    /// What it runs with and holds.
    pub fn info(&self) -> EngineInfo {
        self.info.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where workers from outside find the pool, see [`work`](crate::work); 0 if it needs none.
    #[cfg(target_family = "wasm")]
    pub fn pool(&self) -> usize {
        self.core.pool()
    }

    /// Makes room for the files, of these many bytes, of a checkpoint; a handle to [`fill`](Self::fill) and [`seal`](Self::seal) it by.
    pub fn reserve(&mut self, files: &[u64], tensors: Vec<TensorSource>) -> Result<u32, Error> {
        let directory = Directory::new(files, tensors)?;
        let reservations: Option<Vec<_>> = files.iter().map(|size| Reservation::new(*size)).collect();
        let needed = files.iter().fold(0, |sum: u64, size| sum.saturating_add(*size));
        let files = reservations.ok_or(Error::Memory { needed })?;
        let handle = self.core.next();
        self.reserved.insert(handle, Reserved { files, directory });
        Ok(handle)
    }

    /// Bytes of a file, from `offset` on; best in order, each once.
    pub fn fill(&mut self, weights: u32, file: usize, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let reserved = self.reserved.get_mut(&weights).ok_or(unsealed(weights))?;
        let count = reserved.files.len();
        let found = reserved.files.get_mut(file).ok_or_else(|| Error::option(format!("there is no file {file} of {count}")))?;
        let size = found.size;
        found.fill(offset, bytes).ok_or_else(|| Error::option(format!("{} bytes at {offset} are not in a file of {size}", bytes.len())))
    }

    /// All bytes are there: from now on plans can use the checkpoint.
    pub fn seal(&mut self, weights: u32) -> Result<(), Error> {
        let reserved = self.reserved.get(&weights).ok_or(unsealed(weights))?;
        if let Some((i, file)) = reserved.files.iter().enumerate().find(|(_, file)| file.bytes.len() < file.size) {
            let message = format!("file {i} ends after {} of {} bytes", file.bytes.len(), file.size);
            return Err(Error::Weights { message, tensor: None });
        }
        if let Some(Reserved { files, directory }) = self.reserved.remove(&weights) {
            let files = files.into_iter().map(|file| Bytes::Owned(file.bytes)).collect();
            self.core.adopt(weights, Weights::new(files, directory));
        }
        Ok(())
    }

    /// Name of the first tensor, in the order of the source, that holds a NaN or an infinity.
    pub fn first_non_finite(&self, weights: u32) -> Result<Option<String>, Error> {
        self.core.first_non_finite(weights)
    }

    /// Validates a plan, binds its weights, allocates what it needs to run.
    pub fn load(&mut self, plan: &str, weights: Option<u32>) -> Result<u32, Error> {
        self.idle()?.load(plan, weights)
    }

    /// Makes a state of zeros for a program and all others whose state has the same layout.
    pub fn state(&mut self, program: u32) -> Result<u32, Error> {
        self.core.state(program)
    }

    /// Begins a run of the nodes of a program, `steps` times.
    pub fn start(&mut self, program: u32, state: Option<u32>, steps: u32) -> Result<(), Error> {
        let run = self.idle()?.begin(program, state, steps)?;
        self.run = Some(run);
        Ok(())
    }

    /// Does the next piece of the run: about `work` bytes and floating-point operations for each thread, on which results do not depend. True when
    /// the run is over, as it is after an error.
    pub fn advance(&mut self, work: u64) -> Result<bool, Error> {
        let mut run = self.run.take().ok_or_else(|| Error::option("no run is begun"))?;
        let work = work.max(1);
        let done = self.core.advance(&mut run, &Pace { work, go_on: &|done| done < work })?;
        self.run = (!done).then_some(run);
        Ok(done)
    }

    /// Forgets the run, if one is begun; what it has changed is unspecified.
    pub fn cancel(&mut self) {
        self.run = None;
    }

    /// Copies a state into another of the same layout.
    pub fn copy_state(&mut self, to: u32, from: u32) -> Result<(), Error> {
        self.idle()?.copy_state(to, from)
    }

    /// Bytes of an input or output of a program, of its `node.{id}.{output}` where the engine keeps dumps, or of a buffer of a state.
    pub fn read(&self, target: u32, name: &str) -> Result<Vec<u8>, Error> {
        self.core.read(target, name)
    }

    /// Writes an input of a program or a buffer of a state, or the front of one.
    pub fn write(&mut self, target: u32, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.idle()?.write(target, name, bytes)
    }

    /// Frees what a handle stands for; nothing if there is no such thing. Programs keep the weights they use.
    pub fn release(&mut self, handle: u32) -> Result<(), Error> {
        self.idle()?.release(handle)?;
        self.reserved.remove(&handle);
        Ok(())
    }

    /// The rest of it, when nothing runs.
    fn idle(&mut self) -> Result<&mut Core, Error> {
        match self.run {
            None => Ok(&mut self.core),
            Some(_) => Err(Error::option("a run is begun: it is to be advanced to its end, or canceled, first")),
        }
    }
}

fn unsealed(handle: u32) -> Error {
    Error::Handle { handle, kind: "checkpoint to be filled" }
}
