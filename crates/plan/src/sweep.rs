//! Rule 4: no two live buffers of `temp` share bytes, except a pair that the table allows in place.

use crate::buffers::Extent;
use crate::checked::Life;
use crate::issue::{Findings, Issue};
use crate::plan::{Kind, Plan, Space};
use crate::typing::Typed;
use std::collections::BTreeMap;

/// A placed buffer of `temp` with at least one byte.
#[derive(Clone, Copy)]
struct Live {
    id: u32,
    start: u64,
    end: u64,
    life: Life,
}

/// Walks the nodes with the set of live ranges, which is disjoint at all times.
pub(crate) fn overlaps(plan: &Plan, extents: &[Extent], typed: &[Typed], lives: &[Option<Life>], issues: &mut Findings) {
    let mut births: Vec<Vec<Live>> = vec![Vec::new(); plan.nodes.len()];
    let mut deaths = births.clone();
    for (b, life) in plan.buffers.iter().zip(lives) {
        if let (Kind::Placed { space: Space::Temp, offset, bytes }, Some(life)) = (b.kind, *life)
            && bytes > 0
        {
            let live = Live { id: b.id, start: offset, end: offset + bytes, life };
            births[life.first as usize].push(live);
            deaths[life.last as usize].push(live);
        }
    }
    let mut live: BTreeMap<u64, Live> = BTreeMap::new();
    for (k, born) in births.iter().enumerate() {
        for y in born {
            let clashes: Vec<Live> = live.range(..y.end).rev().map(|(_, a)| *a).take_while(|a| a.end > y.start).collect();
            let allowed = |a: &Live| inplace(plan, extents, typed, a, y);
            for a in clashes.iter().filter(|a| !allowed(a)) {
                issues.push(clash(plan, a, y));
            }
            if issues.full() {
                return;
            }
            if clashes.iter().all(allowed) {
                live.insert(y.start, *y);
            }
        }
        for dead in &deaths[k] {
            if live.get(&dead.start).is_some_and(|a| a.id == dead.id) {
                live.remove(&dead.start);
            }
        }
    }
}

/// Whether `y` may take the bytes of `a`: the node that ends `a` begins `y`, the table has the pair, both are whole buffers of the
/// same bytes, and no other input of the node reads `a`, for a kernel promises to read an element before it writes it only for
/// that pair.
fn inplace(plan: &Plan, extents: &[Extent], typed: &[Typed], a: &Live, y: &Live) -> bool {
    let k = y.life.first as usize;
    let node = &plan.nodes[k];
    let whole = |id: u32, live: &Live| {
        let e = extents[id as usize];
        e.root == live.id && e.contiguous && e.byte == 0 && e.span == live.end - live.start
    };
    let pair = |&(i, o): &(usize, usize)| node.inputs[i].is_some_and(|id| whole(id, a)) && whole(node.outputs[o], y);
    let uses = node.inputs.iter().flatten().filter(|id| extents[**id as usize].root == a.id).count();
    a.life.last as usize == k && (a.start, a.end) == (y.start, y.end) && uses == 1 && typed[k].op.signature().inplace.iter().any(pair)
}

fn clash(plan: &Plan, a: &Live, y: &Live) -> Issue {
    let node = &plan.nodes[y.life.first as usize];
    let show = |l: &Live| {
        let (first, last) = (l.life.first, l.life.last);
        format!("{} [{}, {}) live from node {first} to {last}", plan.buffers[l.id as usize].name, l.start, l.end)
    };
    let message = format!("buffers {} and {} share bytes of temp ({} at {})", show(a), show(y), node.op, node.at);
    Issue::at_node("overlap", node.id, ".out", message)
}
