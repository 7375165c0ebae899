//! What the validator finds.

use serde::Serialize;

/// One reason why a plan is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Issue {
    /// Stable identifier, one of [`CODES`].
    pub code: &'static str,
    /// The node concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<u32>,
    /// Where in the plan: `buffers[3].view`, `nodes[7].in[2]`; for malformed text, line and column.
    pub path: String,
    /// The reason, in a sentence.
    pub message: String,
}

impl Issue {
    pub(crate) fn new(code: &'static str, path: impl Into<String>, message: impl Into<String>) -> Issue {
        Issue { code, node: None, path: path.into(), message: message.into() }
    }

    pub(crate) fn at_node(code: &'static str, node: u32, part: &str, message: impl Into<String>) -> Issue {
        Issue { code, node: Some(node), path: format!("nodes[{node}]{part}"), message: message.into() }
    }
}

/// Every code with its meaning.
pub const CODES: &[(&str, &str)] = &[
    ("too_long", "the text, a string in it or a shape is longer than a plan may have"),
    ("malformed", "not JSON of the format: syntax, an unknown, missing or repeated field, a number out of range"),
    ("format", "written for another version of the plan format"),
    ("opset", "made with another op table"),
    ("id", "ids are not dense"),
    ("duplicate_name", "two buffers, or two entries of inputs and outputs, or of state, share a name or a buffer"),
    ("buffer_kind", "a buffer is not exactly one of placed, weight and view"),
    ("size", "the bytes of a buffer are not its shape times its element size, or do not fit in 64 bits"),
    ("alignment", "an offset is not a multiple of 256"),
    ("out_of_space", "a placed buffer does not lie in its space"),
    ("view_parent", "a view is not of a placed buffer"),
    ("view_dtype", "a view has another dtype than its parent"),
    ("view_bounds", "a view is not made of whole elements of its parent, rows apart"),
    ("weight_row", "a weight buffer and its row of weights do not match one to one"),
    ("weight_conversion", "a weights row asks for a conversion that does not exist"),
    ("binding", "inputs, outputs or state name a buffer that is not placed in their space"),
    ("unknown_buffer", "a node or an entry names a buffer that does not exist"),
    ("unknown_op", "the op table has no such op"),
    ("arity", "a node has more or fewer inputs or outputs than the op"),
    ("missing_input", "an input that is not optional is null"),
    ("attribute", "an attribute is missing, unknown, or not of its type"),
    ("dtype", "an operand has a dtype that the op does not take or give"),
    ("shape", "the shapes of a node contradict the op's"),
    ("constraint", "a rule of the op beyond shapes does not hold"),
    ("not_contiguous", "rows lie apart where the op wants them adjacent"),
    ("read_before_write", "a node reads bytes that nothing has written yet"),
    ("written_twice", "bytes of a buffer are written a second time"),
    ("read_only", "a node writes an input, a weight or a state buffer"),
    ("update_target", "an input that the op updates is not a state buffer"),
    ("update_aliased", "a node reaches the state buffer that it updates by a second operand"),
    ("updated_twice", "two nodes update one state buffer"),
    ("stale_read", "a node reads a state buffer after it was updated"),
    ("overlap", "two live buffers share bytes"),
    ("output_unwritten", "no node writes all of an output"),
    ("unused_buffer", "nothing uses a buffer"),
    ("no_effect", "nothing reads what a node computes"),
    ("too_large", "a size does not fit in this machine's addresses"),
];

/// Issues found so far. Keeps the first hundred: a broken plan tends to be broken everywhere.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Issue>);

impl Findings {
    const LIMIT: usize = 100;

    pub(crate) fn push(&mut self, issue: Issue) {
        if !self.full() {
            self.0.push(issue);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn full(&self) -> bool {
        self.0.len() >= Findings::LIMIT
    }

    pub(crate) fn into_vec(self) -> Vec<Issue> {
        self.0
    }
}
