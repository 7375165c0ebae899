//! Where the buffers of a plan lie: as planned, or apart from each other to hunt for mistakes.

use std::collections::HashMap;
use std::ops::Range;

use statespace_plan::{Checked, Placed, Space};

use crate::arena::ALIGN;
use crate::node::Base;

/// Bytes of a guard, and what they hold.
pub(crate) const GUARD: usize = 64;
const MARK: u8 = 0xA5;
/// Fills dead ranges: a NaN in every float type, −1 in integers.
pub(crate) const POISON: u8 = 0xFF;

/// How buffers are placed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    /// Every buffer of `temp` has bytes of its own.
    pub(crate) flat: bool,
    /// So has every buffer, but for in-place pairs; a guard follows each.
    pub(crate) guard: bool,
}

/// Bytes behind a buffer that nobody may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) start: usize,
    /// Name of the buffer before it.
    pub(crate) buffer: String,
}

/// The places of a plan's buffers.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    starts: HashMap<u32, usize>,
    /// Bytes of each space.
    pub(crate) temp: usize,
    pub(crate) state: usize,
    pub(crate) io: usize,
    guards: [Vec<Guard>; 3],
    /// By node: ranges of `temp` that nobody reads after it.
    dead: Vec<Vec<Range<usize>>>,
}

impl Placement {
    pub(crate) fn new(plan: &Checked, mode: Mode) -> Placement {
        let mut placement = Placement { dead: vec![Vec::new(); if mode.guard { plan.nodes().len() } else { 0 }], ..Default::default() };
        for space in [Space::Temp, Space::State, Space::Io] {
            let mut buffers: Vec<&Placed> = plan.placed().iter().filter(|buffer| buffer.space == space).collect();
            let size = if mode.guard || mode.flat && space == Space::Temp {
                sort(plan, &mut buffers);
                placement.spread(&buffers, mode)
            } else {
                placement.starts.extend(buffers.iter().map(|buffer| (buffer.buffer, buffer.offset)));
                // What the validator has found to fit.
                plan.spaces().bytes(space) as usize
            };
            match space {
                Space::Temp => placement.temp = size,
                Space::State => placement.state = size,
                Space::Io => placement.io = size,
            }
        }
        placement
    }

    /// Bytes from the start of its space to a placed buffer.
    pub(crate) fn start(&self, buffer: u32) -> usize {
        self.starts[&buffer]
    }

    /// One buffer after the other; the size of it all.
    fn spread(&mut self, buffers: &[&Placed], mode: Mode) -> usize {
        let mut end = 0;
        let mut last_of: HashMap<(usize, usize), &Placed> = HashMap::new();
        for &buffer in buffers {
            // The validator lets two buffers that meet at a node share bytes in a pair of the table only.
            let pair = last_of.insert((buffer.offset, buffer.bytes), buffer).filter(|before| {
                let meets = |(a, b): (statespace_plan::Life, statespace_plan::Life)| a.last == b.first;
                !mode.flat && buffer.bytes > 0 && before.life.zip(buffer.life).is_some_and(meets)
            });
            let start = pair.map_or(end, |before| self.starts[&before.buffer]);
            self.starts.insert(buffer.buffer, start);
            if pair.is_none() {
                end = start + buffer.bytes;
                if mode.guard {
                    self.guards[index(buffer.space)].push(Guard { start: end, buffer: buffer.name.clone() });
                    end += GUARD;
                }
                end = end.next_multiple_of(ALIGN);
            }
            if mode.guard
                && let Some(life) = buffer.life
            {
                if let Some(before) = pair.and_then(|before| before.life) {
                    self.dead[before.last as usize].retain(|range| range.start != start);
                }
                self.dead[life.last as usize].push(start..start + buffer.bytes);
            }
        }
        end
    }

    /// Guards of a memory.
    pub(crate) fn guards(&self, base: Base) -> &[Guard] {
        match base {
            Base::Temp => &self.guards[0],
            Base::State => &self.guards[1],
            Base::Io => &self.guards[2],
            Base::Weight(_) => &[],
        }
    }

    /// What a node was the last to read.
    pub(crate) fn dead(&self, node: u32) -> &[Range<usize>] {
        self.dead.get(node as usize).map_or(&[], Vec::as_slice)
    }

    /// Fills what a node was the last to read.
    pub(crate) fn bury(&self, node: u32, temp: &mut [u8]) {
        for range in self.dead(node) {
            temp[range.clone()].fill(POISON);
        }
    }
}

fn index(space: Space) -> usize {
    match space {
        Space::Temp => 0,
        Space::State => 1,
        Space::Io => 2,
    }
}

/// In order of birth, so that a pair's first comes first; states by name, so that programs of one layout agree.
fn sort(plan: &Checked, buffers: &mut [&Placed]) {
    let names: HashMap<u32, &str> = plan.state().iter().map(|(name, operand)| (operand.root, name.as_str())).collect();
    buffers.sort_by_key(|buffer| (buffer.life.map(|life| life.first), names.get(&buffer.buffer).copied(), buffer.buffer));
}

/// Poisons all of a fresh `temp`.
pub(crate) fn poison(temp: &mut [u8]) {
    temp.fill(POISON);
}

/// Writes the guards.
pub(crate) fn mark(bytes: &mut [u8], guards: &[Guard]) {
    for guard in guards {
        bytes[guard.start..guard.start + GUARD].fill(MARK);
    }
}

/// The first guard that does not hold what [`mark`] wrote.
pub(crate) fn broken<'a>(bytes: &[u8], guards: &'a [Guard]) -> Option<&'a Guard> {
    guards.iter().find(|guard| !is_whole(&bytes[guard.start..guard.start + GUARD]))
}

/// Whether a guard's bytes are what [`mark`] wrote.
pub(crate) fn is_whole(guard: &[u8]) -> bool {
    guard.iter().all(|byte| *byte == MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overrun_is_found_and_named() {
        let guards = [Guard { start: 100, buffer: "a".into() }, Guard { start: 300, buffer: "b".into() }];
        let mut bytes = vec![0; 512];
        mark(&mut bytes, &guards);
        assert_eq!(broken(&bytes, &guards), None);
        for (at, guard) in [(100, &guards[0]), (163, &guards[0]), (300, &guards[1]), (363, &guards[1])] {
            bytes[at] = 0;
            assert_eq!(broken(&bytes, &guards), Some(guard), "byte {at}");
            bytes[at] = MARK;
        }
        bytes[99] = 1;
        bytes[164] = 1;
        assert_eq!(broken(&bytes, &guards), None);
    }
}
