//! Rules on buffers alone, before any node is looked at: kinds, sizes, places, views, weights, names.

use crate::bindings::{named, weights};
use crate::issue::{Findings, Issue};
use crate::plan::{Buffer, Kind, Plan, Space, byte_size};
use std::collections::HashSet;

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
    let found: Vec<Option<Extent>> = plan.buffers.iter().map(|b| extent(plan, b, issues)).collect();
    apart(plan, Space::State, issues);
    apart(plan, Space::Io, issues);
    weights(plan, issues);
    named(plan, issues);
    if issues.is_empty() { found.into_iter().collect() } else { None }
}

fn ids(plan: &Plan, issues: &mut Findings) {
    let mut names = HashSet::new();
    for (i, b) in plan.buffers.iter().enumerate() {
        let path = format!("buffers[{i}]");
        if b.id as usize != i {
            issues.push(Issue::new("id", &path, format!("buffer {} has id {}, its index is {i}", b.name, b.id)));
        }
        if !names.insert(b.name.as_str()) {
            issues.push(Issue::new("duplicate_name", &path, format!("a second buffer is named {}", b.name)));
        }
    }
    for (i, n) in plan.nodes.iter().enumerate() {
        if n.id as usize != i {
            issues.push(Issue::new("id", format!("nodes[{i}]"), format!("node {} has id {}, its index is {i}", n.at, n.id)));
        }
    }
}

fn extent(plan: &Plan, b: &Buffer, issues: &mut Findings) -> Option<Extent> {
    let path = format!("buffers[{}]", b.id);
    let mut refuse = |code, message: String| {
        issues.push(Issue::new(code, &path, format!("buffer {}: {message}", b.name)));
        None
    };
    let columns = b.shape.last().copied().unwrap_or(1);
    let Some(size) = byte_size(&b.shape, b.dtype) else {
        return refuse("size", format!("shape {:?} does not fit in 64 bits", b.shape));
    };
    let whole = Extent { root: b.id, byte: 0, span: size, ld: columns, contiguous: true };
    match b.kind {
        Kind::Weight => Some(whole),
        Kind::Placed { space, offset, bytes } => {
            let room = plan.spaces.bytes(space);
            if bytes != size {
                refuse("size", format!("has {bytes} bytes; {:?} of {} are {size}", b.shape, b.dtype.name()))
            } else if offset % ALIGNMENT != 0 {
                refuse("alignment", format!("offset {offset} is not a multiple of {ALIGNMENT}"))
            } else if offset.checked_add(bytes).is_none_or(|end| end > room) {
                refuse("out_of_space", format!("{bytes} bytes at {offset} do not lie in {}, which has {room}", space.name()))
            } else {
                Some(whole)
            }
        }
        Kind::View { of, byte, ld } => {
            let Some(Buffer { kind: Kind::Placed { bytes: room, .. }, dtype, name, .. }) = plan.buffers.get(of as usize) else {
                return refuse("view_parent", format!("is a view of {of}, which is not a placed buffer"));
            };
            if *dtype != b.dtype {
                return refuse("view_dtype", format!("is {}, its parent {name} is {}", b.dtype.name(), dtype.name()));
            }
            let pitch = ld.unwrap_or(columns);
            let unit = b.dtype.size();
            let span = if size == 0 { Some(0) } else { span(size / columns / unit, pitch, columns, unit) };
            match span.and_then(|s| s.checked_add(byte)) {
                Some(end) if end <= *room && byte % unit == 0 && pitch >= columns => {
                    Some(Extent { root: of, byte, span: end - byte, ld: pitch, contiguous: pitch == columns })
                }
                _ => refuse(
                    "view_bounds",
                    format!("{:?} with rows {pitch} elements apart from byte {byte} is not in {name}, which has {room} bytes", b.shape),
                ),
            }
        }
    }
}

fn span(rows: u64, pitch: u64, columns: u64, unit: u64) -> Option<u64> {
    (rows - 1).checked_mul(pitch)?.checked_add(columns)?.checked_mul(unit)
}

/// What lives from run to run, and what the caller reads and writes, never shares bytes.
fn apart(plan: &Plan, wanted: Space, issues: &mut Findings) {
    let mut ranges: Vec<(u64, u64, &str)> = Vec::new();
    for b in &plan.buffers {
        if let Kind::Placed { space, offset, bytes } = b.kind
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
