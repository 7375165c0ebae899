//! A set of bytes as disjoint ranges.

use std::collections::BTreeMap;

/// Disjoint ranges, merged where they touch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Whether all of `[start, end)` is in the set.
    pub(crate) fn covers(&self, start: u64, end: u64) -> bool {
        start >= end || self.0.range(..=start).next_back().is_some_and(|(_, e)| *e >= end)
    }

    /// Whether any of `[start, end)` is in the set.
    pub(crate) fn meets(&self, start: u64, end: u64) -> bool {
        start < end && self.0.range(..end).next_back().is_some_and(|(_, e)| *e > start)
    }

    /// Adds `[start, end)`, which must not meet the set.
    pub(crate) fn add(&mut self, mut start: u64, mut end: u64) {
        if start >= end {
            return;
        }
        if let Some((s, e)) = self.0.range(..start).next_back().map(|(s, e)| (*s, *e))
            && e == start
        {
            self.0.remove(&s);
            start = s;
        }
        if let Some(e) = self.0.remove(&end) {
            end = e;
        }
        self.0.insert(start, end);
    }
}
