//! Which part makes what another reads, told by where the plan has it.

use super::{Conv, Kind, N, Part};

/// What a part reads of an earlier one's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub part: usize,
    /// The first of the words.
    pub first: usize,
    /// Pairs in bf16.
    pub narrow: bool,
}

/// Addresses that a part has written, as far as the plan says.
struct Made {
    address: u64,
    elements: usize,
    part: usize,
    /// The word of the first; none where words hold something else.
    first: Option<usize>,
    /// Whether there may be pairs.
    paired: bool,
}

/// What each part reads of others: x, the residual or z, u, B and C. None where one does not read all that it takes of one part, x of the one
/// before it; or where an output that is kept could be written while somebody still reads what was there.
pub(super) fn reads(parts: &[Part], kept: &[bool]) -> Option<Vec<[Option<Read>; 5]>> {
    let (mut made, mut all): (Vec<Made>, Vec<[Option<Read>; 5]>) = Default::default();
    // By part, what it reads that none has made: where, and how much.
    let mut plain: Vec<(usize, u64, usize)> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let narrow = matches!(part.kind, Kind::Product { norm: None, .. });
        let mut read = |address: u64, elements: usize, narrow: bool| {
            let found = made.iter().rev().find(|made| meet((made.address, made.elements), (address, elements)));
            match found {
                _ if address == 0 => Some(None),
                None if narrow => None,
                None => {
                    plain.push((at, address, elements));
                    Some(None)
                }
                Some(made) => {
                    let offset = (address.checked_sub(made.address)? / 4) as usize;
                    let whole = offset == 0 && elements == made.elements;
                    let fits = if narrow { made.paired && whole } else { offset + elements <= made.elements };
                    let first = if narrow { 0 } else { made.first? + offset };
                    fits.then_some(Some(Read { part: made.part, first, narrow }))
                }
            }
        };
        let (x, residual) = (read(part.x, part.k, narrow)?, read(part.residual, part.m, false)?);
        let [u, b, c] = match part.kind {
            Kind::Scan { u, b, c, .. } => [read(u, part.m, false)?, read(b, N, false)?, read(c, N, false)?],
            Kind::Product { .. } => [None; 3],
        };
        // A scan's output is taken whole, and so tells where all blocks are; by a product, whose barriers lie between two scans.
        let is_even = x.is_none_or(|x| x.first.is_multiple_of(2));
        let takes = |last: &Part| !last.is_scan() || part.k == last.m && !part.is_scan();
        let follows = at == 0 || x.is_some_and(|x| x.part + 1 == at && takes(&parts[at - 1]));
        let is_late = |(reader, address, elements): &(usize, u64, usize)| {
            // A residual in the place of y is read by who writes it.
            !meet((*address, *elements), (part.y, part.m)) || past(parts, *reader) < at || *reader == at && *address == part.y
        };
        if !follows || !is_even || kept[at] && (!plain.iter().all(is_late) || matches!(part.kind, Kind::Product { conv: Some(_), .. })) {
            return None;
        }
        all.push([x, residual, u, b, c]);
        match part.kind {
            Kind::Product { conv: Some(Conv { first, channels, u, .. }), .. } => {
                let column = |column: usize| part.y + 4 * column as u64;
                let rest =
                    [(0, first, Some(0)), (first, channels, None), (first + channels, part.m - first - channels, Some(first + channels))];
                made.extend(rest.map(|(at_column, elements, first)| Made {
                    address: column(at_column),
                    elements,
                    part: at,
                    first,
                    paired: false,
                }));
                made.push(Made { address: u, elements: channels, part: at, first: Some(first), paired: true });
            }
            _ => made.push(Made { address: part.y, elements: part.m, part: at, first: Some(0), paired: true }),
        }
    }
    Some(all)
}

/// The first scan behind a part: who has its output knows that all blocks are past that part.
pub(super) fn past(parts: &[Part], at: usize) -> usize {
    (at + 1..parts.len()).find(|i| parts[*i].is_scan()).unwrap_or(parts.len())
}

fn meet(a: (u64, usize), b: (u64, usize)) -> bool {
    a.0 < b.0 + 4 * b.1 as u64 && b.0 < a.0 + 4 * a.1 as u64
}
