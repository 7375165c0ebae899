//! Tensors of a checkpoint on a device, in the forms that programs ask for.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use statespace_plan::Weight;

use super::device::{Buffer, Device};
use crate::error::Error;
use crate::weights::{Form, Weights};

/// Where tensors start.
const ALIGN: usize = 256;

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
        for (row, _, start) in &self.rows {
            self.weights.formed(row, |bytes| block.put(*start, bytes))?;
        }
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
