//! Rules on what the plan shows to the outside: the checkpoint's weights, the caller's inputs and outputs, the state.

use crate::issue::{Findings, Issue};
use crate::plan::{Buffer, Conversion, Kind, Plan, Space};
use crate::signature::DType;
use std::collections::{HashMap, HashSet};

/// Weight buffers and rows of `weights` match one to one, and each conversion exists.
pub(crate) fn weights(plan: &Plan, issues: &mut Findings) {
    let mut rows: HashMap<u32, usize> = HashMap::new();
    for (i, w) in plan.weights.iter().enumerate() {
        let path = format!("weights[{i}]");
        let row = "weight_row";
        match plan.buffers.get(w.buffer as usize) {
            Some(b) if b.kind == Kind::Weight => {
                if b.shape != w.shape || b.dtype != w.dtype {
                    issues.push(Issue::new(row, &path, format!("{} differs in shape or dtype from its buffer {}", w.key, b.name)));
                }
            }
            _ => issues.push(Issue::new(row, &path, format!("{} names buffer {}, which is not a weight", w.key, w.buffer))),
        }
        if rows.insert(w.buffer, i).is_some() {
            issues.push(Issue::new(row, &path, format!("buffer {} has a second row", w.buffer)));
        }
        let problem = match (w.conversion, w.transpose) {
            (Conversion::Stored, true) => Some("is stored and transposed; a transpose is a copy"),
            (Conversion::F32 | Conversion::Negexp, _) if w.dtype != DType::F32 => Some("is widened, so its dtype must be f32"),
            (_, true) if w.shape.len() != 2 => Some("is transposed, so it must have two axes"),
            _ => None,
        };
        if let Some(problem) = problem {
            issues.push(Issue::new("weight_conversion", &path, format!("{} {problem}", w.key)));
        }
    }
    for b in plan.buffers.iter().filter(|b| b.kind == Kind::Weight && !rows.contains_key(&b.id)) {
        let message = format!("no row of weights names buffer {}", b.name);
        issues.push(Issue::new("weight_row", format!("buffers[{}]", b.id), message));
    }
}

/// `inputs`, `outputs` and `state` name placed buffers of their space, each once; every state buffer has a name.
pub(crate) fn named(plan: &Plan, issues: &mut Findings) {
    let lists = [("inputs", &plan.inputs, Space::Io), ("outputs", &plan.outputs, Space::Io), ("state", &plan.state, Space::State)];
    let mut names: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (list, entries, wanted) in lists {
        let mut buffers = HashSet::new();
        for (name, id) in entries {
            let path = format!("{list}.{name}");
            // Inputs and outputs are read and written by name alone, so they share one set of names.
            if !names.entry(wanted.name()).or_default().insert(name) {
                issues.push(Issue::new("duplicate_name", &path, format!("{name} is named twice")));
            }
            if !buffers.insert(id) {
                issues.push(Issue::new("duplicate_name", &path, format!("buffer {id} is in {list} twice")));
            }
            match plan.buffers.get(*id as usize) {
                None => issues.push(Issue::new("unknown_buffer", &path, format!("there is no buffer {id}"))),
                Some(Buffer { kind: Kind::Placed { space, .. }, .. }) if *space == wanted => {}
                Some(b) => {
                    let message = format!("buffer {} is not placed in {}", b.name, wanted.name());
                    issues.push(Issue::new("binding", &path, message));
                }
            }
        }
    }
    let named: HashSet<u32> = plan.state.iter().map(|(_, id)| *id).collect();
    for b in &plan.buffers {
        if matches!(b.kind, Kind::Placed { space: Space::State, .. }) && !named.contains(&b.id) {
            let message = format!("buffer {} lies in state, but no entry of state names it", b.name);
            issues.push(Issue::new("binding", format!("buffers[{}]", b.id), message));
        }
    }
}
