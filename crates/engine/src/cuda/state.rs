//! States on a device. A kernel's addresses are fixed, so all states of one layout take turns in one slot.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use statespace_plan::{Checked, DType};

use super::device::{Buffer, Device};
use crate::arena::ALIGN;
use crate::error::Error;
use crate::place::{GUARD, Placement};

/// What makes two states alike: names, types, shapes, and where they lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key(Vec<(String, DType, Vec<usize>, usize, usize)>);

impl Key {
    pub(super) fn new(plan: &Checked, placement: &Placement) -> Key {
        let offset = |root| plan.placed().iter().find(|placed| placed.buffer == root).map_or(0, |placed| placed.offset);
        let mut rows: Vec<_> = plan
            .state()
            .iter()
            .map(|(name, field)| (name.clone(), field.dtype, field.shape.clone(), offset(field.root), placement.start(field.root)))
            .collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        Key(rows)
    }

    /// Bytes of a state: up to behind the last buffer, with its guard where there are guards.
    pub(super) fn bytes(&self, guard: bool) -> usize {
        let end = |(_, dtype, shape, _, start): &(String, DType, Vec<usize>, usize, usize)| {
            start + shape.iter().product::<usize>() * dtype.size() as usize + if guard { GUARD } else { 0 }
        };
        self.0.iter().map(end).max().unwrap_or(0).next_multiple_of(ALIGN)
    }
}

/// Where kernels find the state that is active.
pub(crate) struct Slot {
    pub(super) key: Key,
    pub(super) buffer: Buffer,
    /// The home of the one that is in it.
    active: Mutex<Weak<Buffer>>,
}

impl Slot {
    pub(super) fn new(device: &Arc<dyn Device>, key: Key, bytes: usize) -> Result<Slot, Error> {
        Ok(Slot { key, buffer: Buffer::zeroed(device, bytes)?, active: Mutex::default() })
    }
}

/// A state: at home, unless it is the active one of its layout.
pub(crate) struct State {
    home: Arc<Buffer>,
    slot: Arc<Slot>,
}

impl State {
    /// One whose home holds what a fresh state does.
    pub(super) fn new(home: Buffer, slot: Arc<Slot>) -> State {
        State { home: Arc::new(home), slot }
    }

    /// Number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.home.len()
    }

    /// Where it is now.
    pub(crate) fn place(&self) -> &Buffer {
        let active = self.slot.active.lock().unwrap_or_else(PoisonError::into_inner);
        if active.as_ptr() == Arc::as_ptr(&self.home) { &self.slot.buffer } else { &self.home }
    }

    /// Puts it into the slot of its layout; the one that was there goes home.
    pub(super) fn activate(&self) -> Result<&Slot, Error> {
        let mut active = self.slot.active.lock().unwrap_or_else(PoisonError::into_inner);
        if active.as_ptr() != Arc::as_ptr(&self.home) {
            if let Some(before) = active.upgrade() {
                before.copy_from(&self.slot.buffer)?;
            }
            // Nobody's while it is copied: whoever was active is at home, and the next one is not here yet.
            *active = Weak::new();
            self.slot.buffer.copy_from(&self.home)?;
            *active = Arc::downgrade(&self.home);
        }
        Ok(&self.slot)
    }

    /// Takes the values of another of the same layout.
    pub(crate) fn copy_from(&self, from: &State) -> Result<(), Error> {
        self.place().copy_from(from.place())
    }
}
