//! In the place of the CUDA executor where it is left out: machines and programs that nobody can have, so that no code is left of them.

use std::convert::Infallible;
use std::sync::Arc;

use statespace_plan::Checked;

use crate::error::Error;
use crate::options::{DeviceInfo, Options};
use crate::place::Placement;
use crate::run::{Cursor, Pace};
use crate::weights::Weights;

fn absent() -> Error {
    Error::NoDevice { message: "this build is without CUDA".to_owned() }
}

/// All devices, or why there are none.
pub(crate) fn survey() -> Result<Vec<DeviceInfo>, Error> {
    Err(absent())
}

/// What a device has of a checkpoint.
#[derive(Default)]
pub(crate) struct Residents(());

impl Residents {
    pub(crate) fn bytes(&self) -> usize {
        0
    }
}

/// What all programs of an engine share.
pub(crate) struct Machine(Infallible);

impl Machine {
    pub(crate) fn new(_: &Options) -> Result<Machine, Error> {
        Err(absent())
    }

    pub(crate) fn isa(&self) -> String {
        match self.0 {}
    }

    pub(crate) fn info(&self) -> DeviceInfo {
        match self.0 {}
    }

    pub(crate) fn temp_bytes(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn scratch_bytes(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn fit<'a>(&mut self, _: impl Iterator<Item = &'a Program>) -> Result<(), Error> {
        match self.0 {}
    }
}

/// Bytes on a device.
pub(crate) struct Buffer(Infallible);

impl Buffer {
    pub(crate) fn len(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn get(&self, _: usize, _: usize) -> Result<Vec<u8>, Error> {
        match self.0 {}
    }

    pub(crate) fn put(&self, _: usize, _: &[u8]) -> Result<(), Error> {
        match self.0 {}
    }
}

/// A state on a device.
pub(crate) struct State(Infallible);

impl State {
    pub(crate) fn len(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn place(&self) -> &Buffer {
        match self.0 {}
    }

    pub(crate) fn copy_from(&self, _: &State) -> Result<(), Error> {
        match self.0 {}
    }
}

/// A loaded plan.
pub(crate) struct Program {
    pub(crate) placement: Placement,
    pub(crate) io: Buffer,
    pub(crate) dumps: Vec<Vec<Vec<u8>>>,
}

impl Program {
    pub(crate) fn new(_: &Checked, _: Option<&Arc<Weights>>, machine: &mut Machine) -> Result<Program, Error> {
        match machine.0 {}
    }

    pub(crate) fn state(&self, machine: &Machine) -> Result<State, Error> {
        match machine.0 {}
    }

    pub(crate) fn advance(&mut self, machine: &Machine, _: &State, _: &mut Cursor, _: &Pace) -> Result<bool, Error> {
        match machine.0 {}
    }
}
