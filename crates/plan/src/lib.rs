//! Reads, checks and prints plans (`spec/plan.md`). Knows which ops there are and what they take, not what they compute.
//!
//! [`check`] is the gate: it trusts nothing in the text and gives a [`Checked`] plan, in which every operand lies inside its space,
//! every read was written, no two live buffers share bytes but for the in-place pairs of the op table, and shapes, dtypes and
//! attributes are those of the table.
#![forbid(unsafe_code)]

mod attrs;
mod bindings;
mod buffers;
mod checked;
mod flow;
mod issue;
/// The op table, generated from `spec/ops.json`.
#[rustfmt::skip]
#[path = "ops.gen.rs"]
pub mod ops;
mod plan;
mod print;
mod ranges;
mod read;
mod signature;
mod sweep;
mod typing;
mod validate;

pub use attrs::AttrValue;
pub use checked::{Checked, CheckedNode, Life, Operand, Place, Placed};
pub use issue::{CODES, Issue};
pub use ops::{Attrs, OPSET, Op};
pub use plan::{Buffer, Conversion, Kind, Node, Plan, Space, Spaces, Weight};
pub use print::print;
pub use read::{TEXT_LIMIT, read};
pub use signature::{Cmp, DType, Dims, Expr, Input, Output, OutputType, Rule, Signature};
pub use validate::{FORMAT, check, validate};
