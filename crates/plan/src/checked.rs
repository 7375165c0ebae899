//! A plan that the validator has accepted, in the form that executors run: views resolved, ops and attributes typed.

use crate::ops::{Attrs, Op};
use crate::plan::{Space, Spaces, Weight};
use crate::signature::{DType, Dims};

/// Where an operand's first element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In `temp`.
    Temp {
        /// Bytes from the start of the space.
        offset: usize,
    },
    /// In `state`.
    State {
        /// Bytes from the start of the space.
        offset: usize,
    },
    /// In `io`.
    Io {
        /// Bytes from the start of the space.
        offset: usize,
    },
    /// Index into [`Checked::weights`].
    Weight(usize),
}

/// A buffer as a kernel sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    /// Its id.
    pub buffer: u32,
    /// Id of the placed buffer or weight that holds its bytes: its own unless it is a view.
    pub root: u32,
    /// Bytes from the start of the root.
    pub byte: usize,
    /// Element type.
    pub dtype: DType,
    /// Axes, outermost first.
    pub shape: Vec<usize>,
    /// Elements from the start of a row of the last axis to the start of the next; the length of the last axis where rows are adjacent.
    pub ld: usize,
    /// Where it is.
    pub place: Place,
}

impl Operand {
    /// Length of the last axis.
    pub fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Rows of the last axis: the product of the leading axes.
    pub fn rows(&self) -> usize {
        self.shape.iter().rev().skip(1).product()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.rows() * self.columns()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether rows are adjacent.
    pub fn is_contiguous(&self) -> bool {
        self.ld == self.columns()
    }

    /// Bytes from its first element to behind its last, gaps between rows included.
    pub fn span(&self) -> usize {
        if self.is_empty() { 0 } else { ((self.rows() - 1) * self.ld + self.columns()) * self.dtype.size() as usize }
    }
}

/// A node with everything an executor needs.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedNode {
    /// Its index.
    pub id: u32,
    /// What it computes.
    pub op: Op,
    /// With which attributes; always the variant of `op`.
    pub attrs: Attrs,
    /// One for each input of the signature.
    pub inputs: Vec<Option<Operand>>,
    /// One for each output of the signature.
    pub outputs: Vec<Operand>,
    /// Values of the op's symbols and integer attributes; element sizes of its tensors, by their names.
    pub dims: Dims,
    /// Where in the model source it comes from.
    pub at: String,
}

impl CheckedNode {
    /// Value of a symbol that the op's shapes bind.
    ///
    /// # Panics
    /// If the op has no such symbol: a mistake in the caller, not in the plan.
    pub fn dim(&self, name: &str) -> usize {
        self.dims.get(name).and_then(|v| usize::try_from(v).ok()).unwrap_or_else(|| panic!("{} has no symbol {name}", self.op.name()))
    }

    /// Bytes that must move, at least.
    pub fn bytes(&self) -> u64 {
        self.op.signature().bytes.eval(&self.dims).unwrap_or(u64::MAX)
    }

    /// Floating-point operations.
    pub fn flops(&self) -> u64 {
        self.op.signature().flops.eval(&self.dims).unwrap_or(u64::MAX)
    }
}

/// A placed buffer, views excluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its id.
    pub buffer: u32,
    /// Its name.
    pub name: String,
    /// Where.
    pub space: Space,
    /// Bytes from the start of the space.
    pub offset: usize,
    /// Length.
    pub bytes: usize,
    /// For `temp`, none elsewhere: the nodes between which its bytes are its own.
    pub life: Option<Life>,
}

/// When the bytes of a `temp` buffer are its own. At `last` a node may overwrite it in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The node that first writes it.
    pub first: u32,
    /// The last node that reads it.
    pub last: u32,
}

/// A plan that passed the validator. Made by [`crate::check`] alone, so that executors may rely on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    pub(crate) name: String,
    pub(crate) spaces: Spaces,
    pub(crate) weights: Vec<Weight>,
    pub(crate) placed: Vec<Placed>,
    pub(crate) nodes: Vec<CheckedNode>,
    pub(crate) inputs: Vec<(String, Operand)>,
    pub(crate) outputs: Vec<(String, Operand)>,
    pub(crate) state: Vec<(String, Operand)>,
}

impl Checked {
    /// The plan's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of each space.
    pub fn spaces(&self) -> Spaces {
        self.spaces
    }

    /// Tensors of the checkpoint that it uses; [`Place::Weight`] points here.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// All placed buffers, by ascending id.
    pub fn placed(&self) -> &[Placed] {
        &self.placed
    }

    /// In order of execution.
    pub fn nodes(&self) -> &[CheckedNode] {
        &self.nodes
    }

    /// What the caller writes.
    pub fn inputs(&self) -> &[(String, Operand)] {
        &self.inputs
    }

    /// What the caller reads.
    pub fn outputs(&self) -> &[(String, Operand)] {
        &self.outputs
    }

    /// What lives from run to run.
    pub fn state(&self) -> &[(String, Operand)] {
        &self.state
    }
}
