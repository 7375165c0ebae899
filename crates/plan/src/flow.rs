//! Rules 2, 3 and 6: every read was written, nothing is written twice, state changes only where the table says so, and everything is for something.

use crate::buffers::Extent;
use crate::checked::Life;
use crate::issue::{Findings, Issue};
use crate::plan::{Kind, Node, Plan, Space};
use crate::ranges::Ranges;
use crate::typing::Typed;
use std::collections::BTreeMap;

/// Who may write a placed buffer or weight.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Weight,
    Input,
    State,
    Value,
}

/// What is known of a placed buffer or weight after the nodes so far.
struct Root {
    role: Role,
    written: Ranges,
    /// Written and not read yet: start → (end, node).
    unread: BTreeMap<u64, (u64, u32)>,
    life: Option<Life>,
    updated: Option<u32>,
    used: bool,
}

/// Walks the nodes in order. Gives, by id of the buffer, when its bytes are its own.
pub(crate) fn lives(plan: &Plan, extents: &[Extent], typed: &[Typed], issues: &mut Findings) -> Vec<Option<Life>> {
    let mut flow =
        Flow { plan, extents, roots: roots(plan), effect: vec![false; plan.nodes.len()], used: vec![false; plan.buffers.len()], issues };
    for (node, typed) in plan.nodes.iter().zip(typed) {
        if flow.issues.full() {
            break;
        }
        flow.reads(node, typed);
        flow.updates(node, typed);
        flow.writes(node);
    }
    if flow.issues.is_empty() {
        flow.leftovers();
    }
    flow.roots.into_iter().map(|r| r.life).collect()
}

fn roots(plan: &Plan) -> Vec<Root> {
    let mut roots: Vec<Root> = Vec::with_capacity(plan.buffers.len());
    for b in &plan.buffers {
        let role = match b.kind {
            Kind::Weight => Role::Weight,
            Kind::Placed { space: Space::State, .. } => Role::State,
            Kind::Placed { .. } | Kind::View { .. } => Role::Value,
        };
        roots.push(Root { role, written: Ranges::default(), unread: BTreeMap::new(), life: None, updated: None, used: false });
    }
    for (_, id) in &plan.inputs {
        roots[*id as usize].role = Role::Input;
    }
    roots
}

struct Flow<'a> {
    plan: &'a Plan,
    extents: &'a [Extent],
    roots: Vec<Root>,
    /// By node: whether anything needs it.
    effect: Vec<bool>,
    /// By buffer: whether a node names it.
    used: Vec<bool>,
    issues: &'a mut Findings,
}

impl Flow<'_> {
    fn refuse(&mut self, code: &'static str, node: &Node, part: String, id: u32, message: String) {
        let b = &self.plan.buffers[id as usize];
        let e = self.extents[id as usize];
        let root = &self.plan.buffers[e.root as usize];
        let bytes = format!("bytes [{}, {}) of {}", e.byte, e.byte + e.span, root.name);
        let message = format!("buffer {} ({bytes}) {message} ({} at {})", b.name, node.op, node.at);
        self.issues.push(Issue::at_node(code, node.id, &part, message));
    }

    fn reads(&mut self, node: &Node, typed: &Typed) {
        for (i, id) in node.inputs.iter().enumerate() {
            let Some(id) = *id else { continue };
            let e = self.extents[id as usize];
            self.used[id as usize] = true;
            let root = &mut self.roots[e.root as usize];
            root.used = true;
            let (start, end) = (e.byte, e.byte + e.span);
            if root.role == Role::Value {
                if root.life.is_none() || !root.written.covers(start, end) {
                    self.refuse("read_before_write", node, format!(".in[{i}]"), id, "is read, but no earlier node writes all of it".into());
                    continue;
                }
                while let Some((at, (stop, writer))) = root.unread.range(..end).next_back().map(|(k, v)| (*k, *v))
                    && stop > start
                {
                    root.unread.remove(&at);
                    self.effect[writer as usize] = true;
                }
                if let Some(life) = &mut root.life {
                    life.last = node.id;
                }
            }
            if let Some(by) = root.updated
                && !typed.op.signature().updates.contains(&i)
            {
                self.refuse("stale_read", node, format!(".in[{i}]"), id, format!("is read after node {by} updated it"));
            }
        }
    }

    fn updates(&mut self, node: &Node, typed: &Typed) {
        for i in typed.op.signature().updates {
            let Some(Some(id)) = node.inputs.get(*i).copied() else {
                continue;
            };
            let part = format!(".in[{i}]");
            let root = self.extents[id as usize].root;
            if self.roots[root as usize].role != Role::State {
                self.refuse("update_target", node, part, id, "is updated, but is not a state buffer".into());
                continue;
            }
            let shared = |(j, other): (usize, &Option<u32>)| j != *i && other.is_some_and(|o| self.extents[o as usize].root == root);
            if node.inputs.iter().enumerate().any(shared) {
                self.refuse("update_aliased", node, part.clone(), id, "is updated and named by a second input".into());
            }
            if let Some(by) = self.roots[root as usize].updated.replace(node.id)
                && by != node.id
            {
                self.refuse("updated_twice", node, part, id, format!("is updated, and by node {by} before"));
            }
            self.effect[node.id as usize] = true;
        }
    }

    fn writes(&mut self, node: &Node) {
        for (i, id) in node.outputs.iter().enumerate() {
            let e = self.extents[*id as usize];
            self.used[*id as usize] = true;
            let root = &mut self.roots[e.root as usize];
            root.used = true;
            let (start, end) = (e.byte, e.byte + e.span);
            let code = match root.role {
                Role::Value if root.written.meets(start, end) => "written_twice",
                Role::Value => {
                    if start < end {
                        root.written.add(start, end);
                        root.unread.insert(start, (end, node.id));
                    } else {
                        self.effect[node.id as usize] = true; // nothing to read, so nobody could
                    }
                    root.life.get_or_insert(Life { first: node.id, last: node.id }).last = node.id;
                    continue;
                }
                _ => "read_only",
            };
            let why = match root.role {
                Role::Weight => "is a weight",
                Role::Input => "is an input",
                Role::State => "is a state buffer",
                Role::Value => "is written by an earlier node or output already",
            };
            self.refuse(code, node, format!(".out[{i}]"), *id, format!("is written, but {why}"));
        }
    }

    /// Outputs that nobody wrote, buffers that nobody used, nodes that nobody needs.
    fn leftovers(&mut self) {
        let plan = self.plan;
        for (name, id) in &plan.outputs {
            let root = &self.roots[*id as usize];
            if root.life.is_none() || !root.written.covers(0, self.extents[*id as usize].span) {
                let message = format!("no node writes all of buffer {}", plan.buffers[*id as usize].name);
                self.issues.push(Issue::new("output_unwritten", format!("outputs.{name}"), message));
            }
            for (_, writer) in root.unread.values() {
                self.effect[*writer as usize] = true;
            }
        }
        for b in &plan.buffers {
            let id = b.id as usize;
            let used = match b.kind {
                Kind::Placed { space: Space::State, .. } => true, // programs of one model share a layout; each uses what it needs
                Kind::Placed { .. } => self.roots[id].used,
                Kind::Weight | Kind::View { .. } => self.used[id],
            };
            if !used {
                self.issues.push(Issue::new("unused_buffer", format!("buffers[{id}]"), format!("no node uses buffer {}", b.name)));
            }
        }
        for n in plan.nodes.iter().filter(|n| !self.effect[n.id as usize]) {
            let message = format!("nothing reads what {} at {} computes", n.op, n.at);
            self.issues.push(Issue::at_node("no_effect", n.id, "", message));
        }
    }
}
