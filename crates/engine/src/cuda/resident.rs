//! Tensors of a checkpoint on a device, in the forms that programs ask for.

use std::collections::{HashMap, HashSet};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, available_parallelism, scope};

use statespace_plan::Weight;

use super::device::{Buffer, Device};
use crate::error::Error;
use crate::weights::{Form, Weights};

/// Where tensors start.
const ALIGN: usize = 256;
/// Threads that bring them there: one does not read memory as fast as the bus takes it.
const HANDS: usize = 8;
/// So many bytes take long enough to start other things meanwhile.
const LONG: usize = 64 << 20;

/// A form of a tensor in a block that it shares with those that came with it.
#[derive(Clone)]
pub(super) struct Resident {
    block: Arc<Buffer>,
    start: usize,
}

impl Resident {
    /// Where it is.
    pub(super) fn address(&self) -> u64 {
        self.block.address() + self.start as u64
    }
}

/// What there is of a checkpoint on the device; it lives as long as the checkpoint does.
#[derive(Default)]
pub(crate) struct Residents(Mutex<Table>);

#[derive(Default)]
struct Table {
    forms: HashMap<Form, Resident>,
    bytes: usize,
}

impl Residents {
    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        // What it guards is whole at all times.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes on the device.
    pub(crate) fn bytes(&self) -> usize {
        self.table().bytes
    }
}

/// What rows of a plan's `weights` are yet to be brought to the device.
pub(super) struct Freight<'a> {
    weights: &'a Weights,
    rows: Vec<(&'a Weight, Form, usize)>,
    /// Bytes of it all.
    pub(super) bytes: usize,
}

impl<'a> Freight<'a> {
    pub(super) fn new(weights: &'a Weights, rows: &'a [Weight]) -> Result<Freight<'a>, Error> {
        let table = weights.residents.table();
        let (mut seen, mut freight) = (HashSet::new(), Freight { weights, rows: Vec::new(), bytes: 0 });
        for row in rows {
            let (form, bytes) = weights.form(row)?;
            if !table.forms.contains_key(&form) && seen.insert(form) {
                freight.rows.push((row, form, freight.bytes));
                freight.bytes += bytes.next_multiple_of(ALIGN);
            }
        }
        Ok(freight)
    }

    /// Brings it there.
    pub(super) fn unload(self, device: &Arc<dyn Device>) -> Result<(), Error> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let block = Arc::new(Buffer::zeroed(device, self.bytes)?);
        let next = AtomicUsize::new(0);
        let carry = || -> Result<(), Error> {
            while let Some((row, _, start)) = self.rows.get(next.fetch_add(1, Relaxed)) {
                self.weights.formed(row, |bytes| block.put(*start, bytes))?;
            }
            Ok(())
        };
        let hands = available_parallelism().map_or(1, |cores| cores.get().min(HANDS));
        scope(|scope| {
            // What threads cannot be had for, this one does.
            let mut others: Vec<_> = (1..hands).filter_map(|_| Builder::new().spawn_scoped(scope, carry).ok()).collect();
            if self.bytes >= LONG {
                others.extend(Builder::new().spawn_scoped(scope, || device.ready()));
            }
            let own = carry();
            others.into_iter().fold(own, |done, other| done.and(other.join().unwrap_or_else(|panic| resume_unwind(panic))))
        })?;
        let mut table = self.weights.residents.table();
        table.bytes += self.bytes;
        table.forms.extend(self.rows.iter().map(|(_, form, start)| (*form, Resident { block: block.clone(), start: *start })));
        Ok(())
    }
}

/// Where the rows of a plan are, once all of them are there.
pub(super) fn bind(weights: &Weights, rows: &[Weight]) -> Result<Vec<Resident>, Error> {
    let table = weights.residents.table();
    rows.iter().map(|row| Ok(table.forms[&weights.form(row)?.0].clone())).collect()
}
