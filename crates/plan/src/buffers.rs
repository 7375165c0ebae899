//! Rules on buffers alone, before any node is looked at: kinds, sizes, places, views, weights, names.

use crate::issue::{Findings, Issue};
use crate::plan::{Buffer, Conversion, Kind, Plan, Space, byte_size};
use crate::signature::DType;
use std::collections::{HashMap, HashSet};

/// Offsets are multiples of this many bytes.
pub(crate) const ALIGNMENT: u64 = 256;

/// A buffer with its view followed: which bytes of which placed buffer or weight it covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// The placed buffer or weight.
    pub(crate) root: u32,
    /// From the root's first byte.
    pub(crate) byte: u64,
    /// To behind its last element, gaps between rows included.
    pub(crate) span: u64,
    /// Elements from row to row.
    pub(crate) ld: u64,
    /// Whether rows are adjacent.
    pub(crate) contiguous: bool,
}

/// Checks everything about buffers; gives their extents, by id, if nothing is wrong.
pub(crate) fn extents(plan: &Plan, issues: &mut Findings) -> Option<Vec<Extent>> {
    ids(plan, issues);
    if !issues.is_empty() {
        return None; // the rest looks buffers up by id
    }
    let found: Vec<Option<Extent>> = plan
        .buffers
        .iter()
        .map(|b| extent(plan, b, issues))
        .collect();
    apart(plan, Space::State, issues);
    apart(plan, Space::Io, issues);
    weights(plan, issues);
    bindings(plan, issues);
    if issues.is_empty() {
        found.into_iter().collect()
    } else {
        None
    }
}

fn ids(plan: &Plan, issues: &mut Findings) {
    let mut names = HashSet::new();
    for (i, b) in plan.buffers.iter().enumerate() {
        let path = format!("buffers[{i}]");
        if b.id as usize != i {
            issues.push(Issue::new(
                "id",
                &path,
                format!("buffer {} has id {}, its index is {i}", b.name, b.id),
            ));
        }
        if !names.insert(b.name.as_str()) {
            issues.push(Issue::new(
                "duplicate_name",
                &path,
                format!("a second buffer is named {}", b.name),
            ));
        }
    }
    for (i, n) in plan.nodes.iter().enumerate() {
        if n.id as usize != i {
            issues.push(Issue::new(
                "id",
                format!("nodes[{i}]"),
                format!("node {} has id {}, its index is {i}", n.at, n.id),
            ));
        }
    }
}

fn extent(plan: &Plan, b: &Buffer, issues: &mut Findings) -> Option<Extent> {
    let path = format!("buffers[{}]", b.id);
    let mut refuse = |code, message: String| {
        issues.push(Issue::new(
            code,
            &path,
            format!("buffer {}: {message}", b.name),
        ));
        None
    };
    let columns = b.shape.last().copied().unwrap_or(1);
    let Some(size) = byte_size(&b.shape, b.dtype) else {
        return refuse(
            "size",
            format!("shape {:?} does not fit in 64 bits", b.shape),
        );
    };
    let whole = Extent {
        root: b.id,
        byte: 0,
        span: size,
        ld: columns,
        contiguous: true,
    };
    match b.kind {
        Kind::Weight => Some(whole),
        Kind::Placed {
            space,
            offset,
            bytes,
        } => {
            let room = plan.spaces.bytes(space);
            if bytes != size {
                refuse(
                    "size",
                    format!(
                        "has {bytes} bytes; {:?} of {} are {size}",
                        b.shape,
                        b.dtype.name()
                    ),
                )
            } else if offset % ALIGNMENT != 0 {
                refuse(
                    "alignment",
                    format!("offset {offset} is not a multiple of {ALIGNMENT}"),
                )
            } else if offset.checked_add(bytes).is_none_or(|end| end > room) {
                refuse(
                    "out_of_space",
                    format!(
                        "{bytes} bytes at {offset} do not lie in {}, which has {room}",
                        space.name()
                    ),
                )
            } else {
                Some(whole)
            }
        }
        Kind::View { of, byte, ld } => {
            let Some(Buffer {
                kind: Kind::Placed { bytes: room, .. },
                dtype,
                name,
                ..
            }) = plan.buffers.get(of as usize)
            else {
                return refuse(
                    "view_parent",
                    format!("is a view of {of}, which is not a placed buffer"),
                );
            };
            if *dtype != b.dtype {
                return refuse(
                    "view_dtype",
                    format!(
                        "is {}, its parent {name} is {}",
                        b.dtype.name(),
                        dtype.name()
                    ),
                );
            }
            let pitch = ld.unwrap_or(columns);
            let unit = b.dtype.size();
            let span = if size == 0 {
                Some(0)
            } else {
                span(size / columns / unit, pitch, columns, unit)
            };
            match span.and_then(|s| s.checked_add(byte)) {
                Some(end) if end <= *room && byte % unit == 0 && pitch >= columns => Some(Extent {
                    root: of,
                    byte,
                    span: end - byte,
                    ld: pitch,
                    contiguous: pitch == columns,
                }),
                _ => refuse(
                    "view_bounds",
                    format!(
                        "{:?} with rows {pitch} elements apart from byte {byte} is not in {name}, which has {room} bytes",
                        b.shape
                    ),
                ),
            }
        }
    }
}

fn span(rows: u64, pitch: u64, columns: u64, unit: u64) -> Option<u64> {
    (rows - 1)
        .checked_mul(pitch)?
        .checked_add(columns)?
        .checked_mul(unit)
}

/// What lives from run to run, and what the caller reads and writes, never shares bytes.
fn apart(plan: &Plan, wanted: Space, issues: &mut Findings) {
    let mut ranges: Vec<(u64, u64, &str)> = Vec::new();
    for b in &plan.buffers {
        if let Kind::Placed {
            space,
            offset,
            bytes,
        } = b.kind
            && space == wanted
            && bytes > 0
        {
            ranges.push((offset, offset.saturating_add(bytes), &b.name));
        }
    }
    ranges.sort_unstable();
    let mut reach: Option<(u64, u64, &str)> = None;
    for r in ranges {
        if let Some(before) = reach
            && r.0 < before.1
        {
            let message = format!(
                "buffers {} [{}, {}) and {} [{}, {}) share bytes of {}",
                before.2,
                before.0,
                before.1,
                r.2,
                r.0,
                r.1,
                wanted.name()
            );
            issues.push(Issue::new("overlap", "buffers", message));
        }
        if reach.is_none_or(|before| r.1 > before.1) {
            reach = Some(r);
        }
    }
}

fn weights(plan: &Plan, issues: &mut Findings) {
    let mut rows: HashMap<u32, usize> = HashMap::new();
    for (i, w) in plan.weights.iter().enumerate() {
        let path = format!("weights[{i}]");
        let row = "weight_row";
        match plan.buffers.get(w.buffer as usize) {
            Some(b) if b.kind == Kind::Weight => {
                if b.shape != w.shape || b.dtype != w.dtype {
                    issues.push(Issue::new(
                        row,
                        &path,
                        format!(
                            "{} differs in shape or dtype from its buffer {}",
                            w.key, b.name
                        ),
                    ));
                }
            }
            _ => issues.push(Issue::new(
                row,
                &path,
                format!("{} names buffer {}, which is not a weight", w.key, w.buffer),
            )),
        }
        if rows.insert(w.buffer, i).is_some() {
            issues.push(Issue::new(
                row,
                &path,
                format!("buffer {} has a second row", w.buffer),
            ));
        }
        let problem = match (w.conversion, w.transpose) {
            (Conversion::Stored, true) => Some("is stored and transposed; a transpose is a copy"),
            (Conversion::F32 | Conversion::Negexp, _) if w.dtype != DType::F32 => {
                Some("is widened, so its dtype must be f32")
            }
            (_, true) if w.shape.len() != 2 => Some("is transposed, so it must have two axes"),
            _ => None,
        };
        if let Some(problem) = problem {
            issues.push(Issue::new(
                "weight_conversion",
                &path,
                format!("{} {problem}", w.key),
            ));
        }
    }
    for b in plan
        .buffers
        .iter()
        .filter(|b| b.kind == Kind::Weight && !rows.contains_key(&b.id))
    {
        let message = format!("no row of weights names buffer {}", b.name);
        issues.push(Issue::new(
            "weight_row",
            format!("buffers[{}]", b.id),
            message,
        ));
    }
}

fn bindings(plan: &Plan, issues: &mut Findings) {
    let lists = [
        ("inputs", &plan.inputs, Space::Io),
        ("outputs", &plan.outputs, Space::Io),
        ("state", &plan.state, Space::State),
    ];
    let mut names: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (list, entries, wanted) in lists {
        let mut buffers = HashSet::new();
        for (name, id) in entries {
            let path = format!("{list}.{name}");
            // Inputs and outputs are read and written by name alone, so they share one set of names.
            if !names.entry(wanted.name()).or_default().insert(name) {
                issues.push(Issue::new(
                    "duplicate_name",
                    &path,
                    format!("{name} is named twice"),
                ));
            }
            if !buffers.insert(id) {
                issues.push(Issue::new(
                    "duplicate_name",
                    &path,
                    format!("buffer {id} is in {list} twice"),
                ));
            }
            match plan.buffers.get(*id as usize) {
                None => issues.push(Issue::new(
                    "unknown_buffer",
                    &path,
                    format!("there is no buffer {id}"),
                )),
                Some(Buffer {
                    kind: Kind::Placed { space, .. },
                    ..
                }) if *space == wanted => {}
                Some(b) => {
                    let message = format!("buffer {} is not placed in {}", b.name, wanted.name());
                    issues.push(Issue::new("binding", &path, message));
                }
            }
        }
    }
    let named: HashSet<u32> = plan.state.iter().map(|(_, id)| *id).collect();
    for b in &plan.buffers {
        if matches!(
            b.kind,
            Kind::Placed {
                space: Space::State,
                ..
            }
        ) && !named.contains(&b.id)
        {
            let message = format!(
                "buffer {} lies in state, but no entry of state names it",
                b.name
            );
            issues.push(Issue::new("binding", format!("buffers[{}]", b.id), message));
        }
    }
}
