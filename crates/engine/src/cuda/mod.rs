//! The executor on NVIDIA GPUs.
//!
//! Every space is one allocation, so addresses are known once a plan is loaded, and a program is a list of launches made then. The second step of a
//! program captures them in a graph, which is replayed from then on. Ids do not leave the device between steps, and a wrong one is noted there
//! and reported when the run ends.

mod device;
#[allow(unsafe_code)]
mod driver;
#[cfg(feature = "emulate")]
mod emulated;
mod fuse;
mod narrow;
mod program;
mod resident;
mod state;

use std::sync::{Arc, Weak};

use statespace_plan::Checked;

pub(crate) use self::device::Buffer;
use self::device::Device;
pub(crate) use self::driver::survey;
pub(crate) use self::program::Program;
pub(crate) use self::resident::Residents;
pub(crate) use self::state::State;
use self::state::{Key, Slot};
use crate::error::Error;
use crate::options::{DeviceInfo, Options};
use crate::place::{Mode, Placement};

/// Bytes of the words that all programs share: the number of the step, a count of blocks, and the first wrong id.
const WORDS: usize = 16;
/// Where the wrong id is in them.
const FAULT: usize = 8;

/// What all programs of an engine share.
pub(crate) struct Machine {
    device: Arc<dyn Device>,
    temp: Buffer,
    scratch: Buffer,
    words: Buffer,
    slots: Vec<Weak<Slot>>,
    mode: Mode,
    dump: bool,
}

impl Machine {
    /// Opens the device that the options name.
    pub(crate) fn new(options: &Options) -> Result<Machine, Error> {
        #[cfg(feature = "emulate")]
        let device = if options.emulated { Arc::new(emulated::Emulated::open()?) } else { driver::open(options.device)? };
        #[cfg(not(feature = "emulate"))]
        let device = driver::open(options.device)?;
        Ok(Machine {
            temp: Buffer::zeroed(&device, 0)?,
            scratch: Buffer::zeroed(&device, 0)?,
            words: Buffer::zeroed(&device, WORDS)?,
            slots: Vec::new(),
            mode: Mode { flat: options.flat, guard: options.guard },
            dump: options.dump,
            device,
        })
    }

    /// The kind of device.
    pub(crate) fn isa(&self) -> String {
        let (major, minor) = self.device.facts().capability;
        format!("sm_{major}{minor}")
    }

    /// The device.
    pub(crate) fn info(&self) -> DeviceInfo {
        self.device.info().clone()
    }

    /// Bytes of `temp`.
    pub(crate) fn temp_bytes(&self) -> usize {
        self.temp.len()
    }

    /// Bytes of what kernels work in.
    pub(crate) fn scratch_bytes(&self) -> usize {
        let slots: usize = self.slots.iter().filter_map(Weak::upgrade).map(|slot| slot.buffer.len()).sum();
        self.scratch.len() + self.words.len() + slots
    }

    /// Makes `temp` and the scratch as large as the largest of these programs needs.
    pub(crate) fn fit<'a>(&mut self, programs: impl Iterator<Item = &'a Program>) -> Result<(), Error> {
        let [temp, scratch] = programs.fold([0; 2], |[temp, scratch], p| [temp.max(p.placement.temp), scratch.max(p.scratch)]);
        for (buffer, bytes) in [(&mut self.temp, temp), (&mut self.scratch, scratch)] {
            if bytes != buffer.len() {
                // The old one first: nothing in it is of use, and both may be more than there is.
                *buffer = Buffer::zeroed(&self.device, 0)?;
                *buffer = Buffer::zeroed(&self.device, bytes)?;
            }
        }
        Ok(())
    }

    /// Refuses what is more than there is, before any of it is taken.
    fn room(&self, needed: usize) -> Result<(), Error> {
        if needed as u64 > self.device.free()? { Err(Error::Memory { needed: needed as u64 }) } else { Ok(()) }
    }

    /// The slot of a plan's states.
    fn slot(&mut self, plan: &Checked, placement: &Placement) -> Result<Arc<Slot>, Error> {
        self.slots.retain(|slot| slot.strong_count() > 0);
        let key = Key::new(plan, placement);
        if let Some(slot) = self.slots.iter().filter_map(Weak::upgrade).find(|slot| slot.key == key) {
            return Ok(slot);
        }
        let bytes = key.bytes(self.mode.guard);
        let slot = Arc::new(Slot::new(&self.device, key, bytes)?);
        self.slots.push(Arc::downgrade(&slot));
        Ok(slot)
    }
}
