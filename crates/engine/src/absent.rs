//! In the place of the reference executor where it is left out: programs that nobody can have, so that no code is left of them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use statespace_plan::Checked;

use crate::error::Error;
use crate::run::{Cursor, Pace};
use crate::weights::Weights;

/// A loaded plan.
pub(crate) struct Program {
    never: Infallible,
    pub(crate) values: HashMap<u32, Vec<f64>>,
    pub(crate) dumps: Vec<Vec<Vec<f64>>>,
}

/// Values of the state's buffers.
pub(crate) type State = Vec<Vec<f64>>;

impl Program {
    pub(crate) fn new(_: &Checked, _: Option<&Arc<Weights>>, _: HashMap<u32, usize>, _: bool) -> Result<Program, Error> {
        Err(Error::option("this build has no reference executor"))
    }

    pub(crate) fn advance(&mut self, _: &mut State, _: &mut Cursor, _: &Pace) -> Result<bool, Error> {
        match self.never {}
    }
}
