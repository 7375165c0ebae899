use super::place::Chain;
use super::{Conv, Kind, Norm, Part};
use crate::cuda::{Device, Step};

const HOPPER: Device = Device { multiprocessors: 132, shared_per_block_optin: 227 << 10, capability: (9, 0) };
/// Of mamba-130m.
const D: usize = 768;
const E: usize = 1536;
const RANK: usize = 48;
const VOCAB: usize = 50280;
// Where a plan has its values.
const X: u64 = 0x1_0000;
const XZ: u64 = 0x2_0000;
const U: u64 = 0x3_0000;
const LOW: u64 = 0x4_0000;
const Y: u64 = 0x5_0000;
const LOGITS: u64 = 0x10_0000;

fn product(x: u64, k: usize, y: u64, m: usize) -> Part {
    let kind = Kind::Product { norm: None, conv: None };
    Part { kind, weight: 0x100_0000, bias: 0, k, m, x, residual: 0, y, state: 0, lens: 0 }
}

/// Layers and a head, whose values lie where a plan would have them; each layer's in the same places.
fn model(layers: usize) -> Vec<Part> {
    let norm = Some(Norm { weight: 0x200_0000, eps: 1e-5 });
    let conv = Some(Conv { first: 0, channels: E, taps: 0x201_0000, bias: 0, u: U });
    let at = |index: usize| LOW + 4 * index as u64;
    let scan = Kind::Scan { u: U, b: at(RANK), c: at(RANK + 16), a: 0x202_0000, d: 0, dt_bias: 0, softplus: true };
    let layer = [
        Part { kind: Kind::Product { norm, conv }, state: 0x203_0000, ..product(X, D, XZ, 2 * E) },
        product(U, E, LOW, RANK + 32),
        Part { kind: scan, residual: XZ + 4 * E as u64, state: 0x204_0000, ..product(LOW, RANK, Y, E) },
        Part { residual: X, ..product(Y, E, X, D) },
    ];
    let head = Part { kind: Kind::Product { norm, conv: None }, ..product(X, D, LOGITS, VOCAB) };
    (0..layers).flat_map(|_| layer).chain([head]).collect()
}

fn kept(parts: &[Part]) -> Vec<bool> {
    (1..=parts.len()).map(|at| at == parts.len()).collect()
}

fn chain(parts: &[Part]) -> Option<Chain> {
    Chain::new(parts, &kept(parts), &HOPPER)
}

#[test]
fn layers_are_one_launch_of_a_block_a_multiprocessor_at_most() {
    let (step, start, tables) = chain(&model(24)).expect("a chain").place(1 << 20);
    let Step::Launch(launch) = step else { panic!("one launch") };
    // Twelve channels each.
    assert_eq!((launch.grid, launch.together), ([128, 1, 1], true));
    assert!(launch.shared <= HOPPER.shared_per_block_optin);
    // The head takes two phases: 256 rows a block, and the rest.
    let (phases, products) = (24 * 4 + 2, 24 * 3 + 2);
    assert_eq!(tables.len(), phases * 224 + products * 16);
    assert!(start.is_multiple_of(256));
}

#[test]
fn words_are_given_again_when_all_blocks_are_past_them() {
    let words = |layers: usize| chain(&model(layers)).expect("a chain").place(256).1;
    assert!(words(1) < words(2));
    assert_eq!(words(24), words(3));
}

#[test]
fn what_does_not_fit_is_no_chain() {
    let parts = model(2);
    assert!(Chain::new(&parts, &kept(&parts), &Device { capability: (8, 0), ..HOPPER }).is_none());
    // More channels than a block has lanes for.
    assert!(Chain::new(&parts, &kept(&parts), &Device { multiprocessors: 40, ..HOPPER }).is_none());
    // Room for chunks of fewer columns alone.
    let small = Device { shared_per_block_optin: 99 << 10, ..HOPPER };
    assert!(Chain::new(&parts, &kept(&parts), &small).is_some());
    // A convolution's columns are asked for by somebody else.
    let mut wanted = kept(&parts);
    wanted[0] = true;
    assert!(Chain::new(&parts, &wanted, &HOPPER).is_none());
    let changed = |at: usize, change: &dyn Fn(&mut Part)| {
        let mut parts = model(2);
        change(&mut parts[at]);
        chain(&parts)
    };
    assert!(changed(1, &|part| part.lens = 16).is_none());
    // Not a multiple of the columns that blocks take at once.
    assert!(changed(1, &|part| part.k = E - 32).is_none());
    // What the convolution took is not what it made.
    assert!(changed(1, &|part| part.x = XZ).is_none());
    // Half of one part's output, and half of nobody's.
    assert!(changed(3, &|part| part.x = Y + 2 * E as u64).is_none());
    // A scan behind a scan.
    let mut scans = model(1);
    scans.insert(3, Part { k: E, x: Y, y: Y + 8 * E as u64, ..scans[2] });
    scans[4].x = Y + 8 * E as u64;
    assert!(chain(&scans).is_none());
    // Past the part before.
    assert!(changed(4, &|part| part.x = Y).is_none());
    // Logits where x of the last layer is still read as it was found.
    let mut one = model(1);
    one.truncate(4);
    one[3].y = X + 4;
    assert!(chain(&one).is_none());
    one[3].y = X;
    assert!(chain(&one).is_some());
}
