//! Runs in pieces: how far one has come, and how far it may go on.

/// How far a run has come.
#[derive(Debug)]
pub(crate) struct Cursor {
    steps: usize,
    /// Steps that are done.
    pub(crate) step: usize,
    /// Nodes of this step that are done.
    node: usize,
    /// Rounds of this node that are done.
    pub(crate) round: usize,
    /// Rounds of this node, known once it has begun.
    pub(crate) rounds: usize,
    /// What a thread does in one of them.
    pub(crate) work: u64,
}

impl Cursor {
    /// The start of a run of all nodes, `steps` times.
    pub(crate) fn new(steps: u32) -> Cursor {
        Cursor { steps: steps as usize, step: 0, node: 0, round: 0, rounds: 0, work: 0 }
    }

    /// Whether nothing is done yet.
    pub(crate) fn is_fresh(&self) -> bool {
        (self.step, self.node, self.round) == (0, 0, 0)
    }

    /// The node that is next, or to be gone on with; none when the run is done.
    pub(crate) fn node<'a, T>(&mut self, nodes: &'a [T]) -> Option<&'a T> {
        if self.node == nodes.len() {
            (self.step, self.node) = (self.step + 1, 0);
        }
        if self.step < self.steps { nodes.get(self.node) } else { None }
    }

    /// All nodes of this step are done.
    #[cfg(feature = "cuda")]
    pub(crate) fn finish(&mut self, nodes: usize) {
        (self.node, self.round) = (nodes, 0);
    }

    /// The node is done.
    pub(crate) fn next(&mut self) {
        (self.node, self.round) = (self.node + 1, 0);
    }
}

/// How a run goes on.
pub(crate) struct Pace<'a> {
    /// Bytes and floating-point operations of each thread in a round, about. Results do not depend on it.
    pub(crate) work: u64,
    /// Asked before every round, with what each thread has done so far; the run pauses at the first false.
    pub(crate) go_on: &'a dyn Fn(u64) -> bool,
}

#[cfg(test)]
impl Pace<'_> {
    /// To the end, each node at once.
    pub(crate) const FULL: Pace<'static> = Pace { work: u64::MAX, go_on: &|_| true };
}
