//! A plan as a table for people.

use crate::plan::{Buffer, Kind, Plan};
use std::fmt::Write;

/// One line a node: id, op, operands with shape and place, where it comes from.
pub fn print(plan: &Plan) -> String {
    let mut text = format!(
        "{}  opset {}  temp {}  state {}  io {} bytes  {} weights\n",
        plan.name,
        plan.opset,
        plan.spaces.temp,
        plan.spaces.state,
        plan.spaces.io,
        plan.weights.len()
    );
    let list =
        |entries: &[(String, u32)]| entries.iter().map(|(n, id)| format!("{n}={}", operand(plan, *id))).collect::<Vec<_>>().join("  ");
    for (title, entries) in [("inputs", &plan.inputs), ("state", &plan.state), ("outputs", &plan.outputs)] {
        let _ = writeln!(text, "{title:<8}{}", list(entries));
    }
    for n in &plan.nodes {
        let inputs: Vec<_> = n.inputs.iter().map(|id| id.map_or_else(|| "-".into(), |id| operand(plan, id))).collect();
        let outputs: Vec<_> = n.outputs.iter().map(|id| operand(plan, *id)).collect();
        let _ = writeln!(text, "{:>5}  {:<20}  {} -> {}  # {}", n.id, n.op, inputs.join("  "), outputs.join("  "), n.at);
    }
    text
}

/// `name dtype[shape]@place`; a view's place is its parent.
fn operand(plan: &Plan, id: u32) -> String {
    let Some(Buffer { name, dtype, shape, kind, .. }) = plan.buffers.get(id as usize) else {
        return format!("?{id}");
    };
    let place = match kind {
        Kind::Placed { space, offset, .. } => format!("{}+{offset}", space.name()),
        Kind::Weight => "weights".into(),
        Kind::View { of, byte, ld } => {
            let parent = plan.buffers.get(*of as usize).map_or("?", |b| b.name.as_str());
            let pitch = ld.map_or_else(String::new, |ld| format!(" ld {ld}"));
            format!("{parent}+{byte}{pitch}")
        }
    };
    format!("{name} {}{shape:?}@{place}", dtype.name())
}
