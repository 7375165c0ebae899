//! The validator: every rule of `spec/plan.md`, in an order in which each step may rely on the ones before it.

use crate::buffers::{Extent, extents};
use crate::checked::{Checked, CheckedNode, Life, Operand, Place, Placed};
use crate::flow::lives;
use crate::issue::{Findings, Issue};
use crate::ops::OPSET;
use crate::plan::{Kind, Node, Plan, Space};
use crate::read::read;
use crate::sweep::overlaps;
use crate::typing::{Typed, typed};
use std::collections::HashMap;

/// The version of the format that this crate reads.
pub const FORMAT: u32 = 1;

/// Reads and validates a plan; the only way to a [`Checked`] one.
pub fn check(text: &str) -> Result<Checked, Vec<Issue>> {
    let plan = read(text)?;
    let facts = analyze(&plan)?;
    resolve(plan, facts)
        .map_err(|path| vec![Issue::new("too_large", &path, format!("{path} does not fit in the addresses of this machine"))])
}

/// What is wrong with a plan; nothing if it is good. Lists at most a hundred findings, and those that rest on others only once the others are mended.
pub fn validate(plan: &Plan) -> Vec<Issue> {
    analyze(plan).err().unwrap_or_default()
}

/// What the validator derives on its way.
struct Facts {
    extents: Vec<Extent>,
    typed: Vec<Typed>,
    lives: Vec<Option<Life>>,
}

fn analyze(plan: &Plan) -> Result<Facts, Vec<Issue>> {
    let mut issues = Findings::default();
    let facts = steps(plan, &mut issues);
    match facts {
        Some(facts) if issues.is_empty() => Ok(facts),
        _ => Err(issues.into_vec()),
    }
}

fn steps(plan: &Plan, issues: &mut Findings) -> Option<Facts> {
    if plan.format != FORMAT {
        issues.push(Issue::new("format", "format", format!("the plan has format {}; this is format {FORMAT}", plan.format)));
        return None;
    }
    if plan.opset != OPSET {
        let message = format!("the plan was made with the op table {}; this engine has {OPSET}", plan.opset);
        issues.push(Issue::new("opset", "opset", message));
        return None;
    }
    let extents = extents(plan, issues)?;
    let mut types = Vec::with_capacity(plan.nodes.len());
    for node in &plan.nodes {
        types.extend(typed(plan, &extents, node, issues));
        if issues.full() {
            break;
        }
    }
    if !issues.is_empty() {
        return None;
    }
    let lives = lives(plan, &extents, &types, issues);
    if issues.is_empty() {
        overlaps(plan, &extents, &types, &lives, issues);
    }
    Some(Facts { extents, typed: types, lives })
}

/// Follows the views and makes addresses of numbers. Fails with the path of what this machine cannot address.
fn resolve(plan: Plan, facts: Facts) -> Result<Checked, String> {
    let rows: HashMap<u32, usize> = plan.weights.iter().enumerate().map(|(i, w)| (w.buffer, i)).collect();
    let operand = |id: u32| operand(&plan, &facts.extents, &rows, id).ok_or_else(|| format!("buffers[{id}]"));
    let named =
        |list: &[(String, u32)]| list.iter().map(|(name, id)| Ok((name.clone(), operand(*id)?))).collect::<Result<Vec<_>, String>>();

    for space in [Space::Temp, Space::State, Space::Io] {
        address(plan.spaces.bytes(space)).ok_or_else(|| format!("spaces.{}", space.name()))?;
    }
    let mut placed = Vec::new();
    for b in &plan.buffers {
        // Both numbers lie in their space, which was just found to fit.
        if let Kind::Placed { space, offset, bytes } = b.kind {
            let life = if space == Space::Temp { facts.lives[b.id as usize] } else { None };
            placed.push(Placed { buffer: b.id, name: b.name.clone(), space, offset: offset as usize, bytes: bytes as usize, life });
        }
    }
    let node = |(n, t): (&Node, &Typed)| {
        let inputs = n.inputs.iter().map(|id| id.map(operand).transpose()).collect::<Result<_, String>>()?;
        let outputs = n.outputs.iter().map(|id| operand(*id)).collect::<Result<_, String>>()?;
        Ok(CheckedNode { id: n.id, op: t.op, attrs: t.attrs, inputs, outputs, dims: t.dims.clone(), at: n.at.clone() })
    };
    Ok(Checked {
        nodes: plan.nodes.iter().zip(&facts.typed).map(node).collect::<Result<_, String>>()?,
        inputs: named(&plan.inputs)?,
        outputs: named(&plan.outputs)?,
        state: named(&plan.state)?,
        placed,
        spaces: plan.spaces,
        name: plan.name,
        weights: plan.weights,
    })
}

/// Rust's objects end below `isize::MAX`; so do the spaces.
fn address(value: u64) -> Option<usize> {
    isize::try_from(value).ok().map(|v| v as usize)
}

fn operand(plan: &Plan, extents: &[Extent], rows: &HashMap<u32, usize>, id: u32) -> Option<Operand> {
    let b = &plan.buffers[id as usize];
    let e = extents[id as usize];
    let byte = address(e.byte)?;
    address(e.byte + e.span)?;
    let place = match plan.buffers[e.root as usize].kind {
        Kind::Weight => Place::Weight(*rows.get(&e.root)?),
        Kind::Placed { space, offset, .. } => {
            let offset = address(offset.checked_add(e.byte)?)?;
            match space {
                Space::Temp => Place::Temp { offset },
                Space::State => Place::State { offset },
                Space::Io => Place::Io { offset },
            }
        }
        Kind::View { .. } => return None,
    };
    let shape = b.shape.iter().map(|d| address(*d)).collect::<Option<_>>()?;
    Some(Operand { buffer: id, root: e.root, byte, dtype: b.dtype, shape, ld: address(e.ld)?, place })
}
