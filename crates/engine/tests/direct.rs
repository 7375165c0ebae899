//! The engine without a thread: runs in pieces are runs, and checkpoints that come in pieces are checkpoints.

mod kit;

use kit::build::{Sizes, block, norm, sum};
use kit::case::Case;
use kit::{Wait, f32s, open, options};
use statespace_engine::{Bytes, Direct, File};

/// Loads a case; its checkpoint comes in pieces of 100 bytes, the last first.
fn load(case: &Case, engine: &mut Direct) -> (u32, u32) {
    let files: Vec<&[u8]> = case.source.files.iter().map(|file| if let File::Bytes(bytes) = file { &bytes[..] } else { &[] }).collect();
    let lengths: Vec<u64> = files.iter().map(|file| file.len() as u64).collect();
    let weights = engine.reserve(&lengths, case.source.tensors.clone()).unwrap();
    for (file, bytes) in files.iter().enumerate() {
        for (i, piece) in bytes.chunks(100).enumerate().rev() {
            engine.fill(weights, file, 100 * i as u64, piece).unwrap();
        }
    }
    engine.seal(weights).unwrap();
    let program = engine.load(&case.plan.to_string(), Some(weights)).unwrap();
    engine.release(weights).unwrap();
    let state = engine.state(program).unwrap();
    case.inputs.iter().for_each(|(name, bytes)| engine.write(program, name, bytes).unwrap());
    case.state.iter().for_each(|(name, bytes)| engine.write(state, name, bytes).unwrap());
    (program, state)
}

/// All that a case leaves in its state and writes out, and the pieces it was done in.
fn run(case: &Case, engine: &mut Direct, work: u64) -> (Vec<Vec<u8>>, usize) {
    let (program, state) = load(case, engine);
    engine.start(program, Some(state), 3).unwrap();
    let mut pieces = 1;
    while !engine.advance(work).unwrap() {
        pieces += 1;
    }
    let found = case.state.keys().map(|name| engine.read(state, name).unwrap());
    let found = found.chain(["nll"].map(|name| engine.read(program, name).unwrap())).collect();
    engine.release(program).unwrap();
    engine.release(state).unwrap();
    (found, pieces)
}

#[test]
fn a_run_in_pieces_of_any_size_is_the_run_of_the_other_engine_bit_by_bit() {
    // Rows for either way through a product, and for more than one batch of the losses.
    for (b, l, compute) in [(1, 1, "f32"), (2, 9, "f32"), (3, 100, "bf16")] {
        let case = Case::new(block(&Sizes { b, l, d: 48, e: 96, n: 8, v: 300, compute }), 5, 299);
        let threaded = open(r#"{"threads":2}"#);
        let (program, state) = case.load(&threaded).unwrap();
        threaded.go(program, Some(state), 3).unwrap();
        let wanted: Vec<_> = case.state.keys().map(|name| threaded.get(state, name).unwrap()).collect();
        let wanted = [wanted, vec![threaded.get(program, "nll").unwrap()]].concat();
        let mut pieces = Vec::new();
        for (mode, work) in
            [("{}", 1), (r#"{"threads":1}"#, 50_000), (r#"{"threads":3}"#, 77_777), (r#"{"guard":true}"#, 1 << 18), ("{}", u64::MAX)]
        {
            let (found, count) = run(&case, &mut Direct::open(&options(mode)).unwrap(), work);
            assert!(found == wanted, "b {b} l {l} {compute}, {mode}, pieces of {work}");
            pieces.push(count);
        }
        assert!(pieces[0] >= 33 && pieces[4] == 1, "{pieces:?} pieces of three times 11 nodes");
    }
}

#[test]
fn every_node_can_be_left_and_heavy_ones_within() {
    let nodes = 11;
    for (l, within) in [(1, false), (200, true)] {
        let case = Case::new(block(&Sizes { b: 1, l, d: 48, e: 96, n: 8, v: 300, compute: "f32" }), 5, 299);
        let (_, pieces) = run(&case, &mut Direct::open(&options(r#"{"threads":1}"#)).unwrap(), 1 << 16);
        assert_eq!(pieces > 3 * 2 * nodes, within, "{pieces} pieces");
    }
}

#[test]
fn pieces_of_two_engines_interleave() {
    let cases = [(1, 30), (2, 9)].map(|(b, l)| Case::new(block(&Sizes { b, l, d: 48, e: 96, n: 8, v: 50, compute: "f32" }), 5, 49));
    let mut engines = [0, 1].map(|_| Direct::open(&options(r#"{"threads":2}"#)).unwrap());
    let alone = [0, 1].map(|i| run(&cases[i], &mut engines[i], u64::MAX).0);
    let loaded = [0, 1].map(|i| load(&cases[i], &mut engines[i]));
    (0..2).for_each(|i| engines[i].start(loaded[i].0, Some(loaded[i].1), 3).unwrap());
    let mut done = [false; 2];
    while done != [true; 2] {
        (0..2).for_each(|i| done[i] = done[i] || engines[i].advance(10_000).unwrap());
    }
    for i in 0..2 {
        assert_eq!(engines[i].read(loaded[i].1, "ssm").unwrap(), alone[i][cases[i].state.keys().position(|name| name == "ssm").unwrap()]);
    }
}

#[test]
fn one_run_at_a_time_and_nothing_under_it_changes() {
    let mut engine = Direct::open(&options("{}")).unwrap();
    assert_eq!(engine.advance(1).unwrap_err().code(), "option", "nothing is begun");
    engine.cancel();
    let program = engine.load(&norm(64, 64).to_string(), None).unwrap();
    let other = engine.load(&sum(2, 4, "acc", 0).to_string(), None).unwrap();
    let [state, spare] = [(); 2].map(|()| engine.state(other).unwrap());
    assert_eq!(engine.start(99, None, 1).unwrap_err().code(), "handle");
    assert_eq!(engine.start(other, None, 1).unwrap_err().code(), "state_layout");
    engine.write(other, "x", &f32s(&[1.0; 8])).unwrap();
    engine.start(other, Some(state), 1000).unwrap();
    assert_eq!(engine.advance(1), Ok(false));
    let refused = [
        engine.start(program, None, 1),
        engine.load(&norm(1, 1).to_string(), None).map(|_| ()),
        engine.write(program, "x", &f32s(&[1.0])),
        engine.copy_state(spare, state),
        engine.release(program),
    ];
    assert_eq!(refused.map(|result| result.map_err(|error| error.code())), [Err("option"); 5]);
    // What cannot disturb it is done.
    assert_eq!(engine.read(state, "acc").unwrap(), f32s(&[2.0; 4]));
    engine.state(other).unwrap();
    assert_eq!(engine.advance(1), Ok(false));
    engine.cancel();
    assert_eq!(engine.read(state, "acc").unwrap(), f32s(&[4.0; 4]), "two steps were done");
    engine.start(program, None, 1).unwrap();
    assert_eq!(engine.advance(u64::MAX), Ok(true));
    assert_eq!(engine.advance(1).unwrap_err().code(), "option", "it is over");
}

#[test]
fn a_run_that_fails_is_over() {
    let mut engine = Direct::open(&options("{}")).unwrap();
    let case = Case::new(block(&Sizes { b: 1, l: 2, d: 16, e: 32, n: 4, v: 20, compute: "f32" }), 1, 19);
    let (program, state) = load(&case, &mut engine);
    engine.write(program, "tokens", &kit::i32s(&[-1])).unwrap();
    engine.start(program, Some(state), 1).unwrap();
    assert_eq!(engine.advance(1).unwrap_err().code(), "token_range");
    assert_eq!(engine.advance(1).unwrap_err().code(), "option");
    engine.release(program).unwrap();
}

#[test]
fn a_checkpoint_is_refused_until_it_is_whole() {
    let mut engine = Direct::open(&options("{}")).unwrap();
    let case = Case::new(block(&Sizes { b: 1, l: 2, d: 16, e: 32, n: 4, v: 20, compute: "f32" }), 1, 19);
    let (plan, tensors) = (case.plan.to_string(), case.source.tensors.clone());
    let File::Bytes(bytes) = &case.source.files[0] else { panic!("a file on disk") };
    let size = bytes.len() as u64;
    assert_eq!(engine.reserve(&[size - 1], tensors.clone()).unwrap_err().code(), "weights", "the last tensor does not fit");
    let error = engine.reserve(&[size, 1 << 62, 1 << 62], tensors.clone()).unwrap_err();
    assert_eq!(error, statespace_engine::Error::Memory { needed: size + (1 << 63) });
    let weights = engine.reserve(&[size], tensors).unwrap();
    assert_eq!(engine.load(&plan, Some(weights)).unwrap_err().code(), "handle", "it is not sealed");
    for (file, offset, bytes) in [(1, 0, &bytes[..]), (0, 1, bytes), (0, u64::MAX, bytes), (0, size, &[0])] {
        assert_eq!(engine.fill(weights, file, offset, bytes).unwrap_err().code(), "option", "{file} {offset}");
    }
    engine.fill(weights, 0, 0, &bytes[..bytes.len() - 1]).unwrap();
    let error = engine.seal(weights).unwrap_err();
    assert_eq!((error.code(), error.to_string()), ("weights", format!("file 0 ends after {} of {size} bytes", size - 1)));
    engine.fill(weights, 0, size, &[]).unwrap();
    engine.fill(weights, 0, 1, &bytes[1..]).unwrap();
    engine.seal(weights).unwrap();
    assert_eq!(engine.fill(weights, 0, 0, &[0]).unwrap_err().code(), "handle", "it is sealed");
    assert_eq!(engine.first_non_finite(weights), Ok(None));
    let program = engine.load(&plan, Some(weights)).unwrap();
    assert!(engine.info().bytes.weights > 0);
    engine.release(weights).unwrap();
    engine.release(program).unwrap();
    let waiting = engine.reserve(&[8], Vec::new()).unwrap();
    engine.release(waiting).unwrap();
    assert_eq!(engine.seal(waiting).unwrap_err().code(), "handle");
    assert_eq!(engine.info().bytes, Bytes::default());
}

#[test]
fn the_reference_executor_runs_in_pieces_too() {
    let mut engine = Direct::open(&options(r#"{"executor":"reference"}"#)).unwrap();
    let program = engine.load(&sum(2, 4, "acc", 0).to_string(), None).unwrap();
    let state = engine.state(program).unwrap();
    engine.write(program, "x", &f32s(&[1.0; 8])).unwrap();
    engine.start(program, Some(state), 3).unwrap();
    assert_eq!([1, 1, 1].map(|work| engine.advance(work)), [Ok(false), Ok(false), Ok(true)]);
    assert_eq!(engine.read(state, "acc").unwrap(), f32s(&[6.0; 4]));
}
