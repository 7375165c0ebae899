//! The plan as `spec/plan.md` defines it, before anything is checked beyond its form.

use crate::attrs::AttrValue;
use crate::signature::DType;
use serde::Deserialize;

/// A region of memory that buffers are placed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Space {
    /// Values between nodes; reused.
    Temp,
    /// What lives from run to run.
    State,
    /// Inputs and outputs.
    Io,
}

impl Space {
    /// As the plan spells it.
    pub fn name(self) -> &'static str {
        match self {
            Space::Temp => "temp",
            Space::State => "state",
            Space::Io => "io",
        }
    }
}

/// Bytes of each space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spaces {
    /// Values between nodes.
    pub temp: u64,
    /// What lives from run to run.
    pub state: u64,
    /// Inputs and outputs.
    pub io: u64,
}

impl Spaces {
    /// Bytes of one space.
    pub fn bytes(&self, space: Space) -> u64 {
        match space {
            Space::Temp => self.temp,
            Space::State => self.state,
            Space::Io => self.io,
        }
    }
}

/// How a weight is made from the tensor of the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conversion {
    /// As the file has it, without a copy.
    Stored,
    /// Widened to `f32`.
    F32,
    /// −exp of the widened value.
    Negexp,
}

/// A row of `weights`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weight {
    /// Id of the weight's buffer.
    pub buffer: u32,
    /// Name of the tensor in the checkpoint.
    pub key: String,
    /// How the kernel's values are made.
    #[serde(rename = "as")]
    pub conversion: Conversion,
    /// Axes of length 1 are dropped, the other two swapped.
    #[serde(default)]
    pub transpose: bool,
    /// What the kernel sees.
    pub dtype: DType,
    /// What the kernel sees.
    pub shape: Vec<u64>,
}

/// A buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Its index.
    pub id: u32,
    /// For messages.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Axes, outermost first.
    pub shape: Vec<u64>,
    /// Where its bytes are.
    pub kind: Kind,
}

/// Where the bytes of a buffer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In a space.
    Placed {
        /// Which.
        space: Space,
        /// Bytes from the start of the space.
        offset: u64,
        /// Length.
        bytes: u64,
    },
    /// In the checkpoint; a row of `weights` says which tensor.
    Weight,
    /// In another buffer.
    View {
        /// Id of the parent.
        of: u32,
        /// Bytes from the start of the parent.
        byte: u64,
        /// Elements from row to row; none: adjacent.
        ld: Option<u64>,
    },
}

/// A use of an op.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its index.
    pub id: u32,
    /// Name of the op.
    pub op: String,
    /// Buffer ids, positional.
    pub inputs: Vec<Option<u32>>,
    /// Buffer ids, positional.
    pub outputs: Vec<u32>,
    /// Attributes, in the order of the text.
    pub attrs: Vec<(String, AttrValue)>,
    /// Where in the model source the node comes from.
    pub at: String,
}

/// A plan: a list of nodes over buffers whose places are decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Version of the format.
    pub format: u32,
    /// Hash of the op table that it was made with.
    pub opset: String,
    /// For messages.
    pub name: String,
    /// Bytes of each space.
    pub spaces: Spaces,
    /// Tensors of the checkpoint that it uses.
    pub weights: Vec<Weight>,
    /// By id.
    pub buffers: Vec<Buffer>,
    /// In order of execution.
    pub nodes: Vec<Node>,
    /// What the caller writes: name and buffer id.
    pub inputs: Vec<(String, u32)>,
    /// What the caller reads.
    pub outputs: Vec<(String, u32)>,
    /// What lives from run to run.
    pub state: Vec<(String, u32)>,
}

/// Product of the axes and the element size, if it fits in 64 bits.
pub(crate) fn byte_size(shape: &[u64], dtype: DType) -> Option<u64> {
    // A zero axis must not hide an overflow of the others: strides are computed from them.
    let whole = shape.iter().filter(|d| **d != 0).try_fold(dtype.size(), |n, d| n.checked_mul(*d))?;
    Some(if shape.contains(&0) { 0 } else { whole })
}
