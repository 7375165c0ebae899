//! Engines from birth to death: order, abort, disposal, shutdown, several at once.

mod kit;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;

use kit::build::{Sizes, block, norm, product, sum};
use kit::case::Case;
use kit::{Wait, f32s, i32s, open, wait};
use statespace_engine::{Bytes, DType, Engine, File, Source, TensorSource};

/// An engine in a run that nothing but an abort ends, and what it will say.
fn endless(engine: &Engine) -> (Arc<AtomicBool>, std::sync::mpsc::Receiver<&'static str>) {
    let program = engine.load_plan(&sum(2, 4, "acc", 0), None).unwrap();
    let state = engine.new_state(program).unwrap();
    let (abort, (send, receive)) = (Arc::new(AtomicBool::new(false)), channel());
    engine.run(
        program,
        Some(state),
        u32::MAX,
        abort.clone(),
        Box::new(move |result| send.send(result.map_or_else(|e| e.code(), |()| "done")).unwrap()),
    );
    (abort, receive)
}

#[test]
fn calls_run_in_order_and_awaiting_them_is_not_needed() {
    let engine = open(r#"{"threads":2}"#);
    let program = engine.load_plan(&sum(1, 2, "acc", 0), None).unwrap();
    let state = engine.new_state(program).unwrap();
    let turn = Arc::new(AtomicUsize::new(0));
    for i in 0..50 {
        let (order, abort) = (turn.clone(), Arc::new(AtomicBool::new(false)));
        engine.write(program, "x".into(), f32s(&[i as f32, 1.0]), Box::new(|result| result.unwrap()));
        engine.run(program, Some(state), 1, abort, Box::new(move |result| assert_eq!((result, order.fetch_add(1, SeqCst)), (Ok(()), i))));
    }
    assert_eq!(engine.get(state, "acc").unwrap(), f32s(&[1225.0, 50.0]));
    assert_eq!(turn.load(SeqCst), 50);
}

#[test]
fn an_abort_is_seen_before_and_during_a_run_and_the_engine_goes_on() {
    let engine = open(r#"{"threads":2}"#);
    let program = engine.load_plan(&norm(1, 4), None).unwrap();
    let before = wait(|reply| engine.run(program, None, 1, Arc::new(AtomicBool::new(true)), reply));
    assert_eq!(before.unwrap_err().code(), "aborted");
    assert_eq!(engine.get(program, "y").unwrap(), f32s(&[0.0; 4]), "no node ran");
    let (abort, end) = endless(&engine);
    abort.store(true, SeqCst);
    assert_eq!(end.recv(), Ok("aborted"));
    engine.put(program, "x", &f32s(&[2.0; 4])).unwrap();
    engine.go(program, None, 1).unwrap();
    assert_ne!(engine.get(program, "y").unwrap(), f32s(&[0.0; 4]));
}

#[test]
fn an_abort_is_seen_within_a_heavy_node() {
    let (l, k, m) = (512, 1024, 16384);
    for op in ["linear", "linear_cross_entropy"] {
        let engine = open(r#"{"threads":2}"#);
        let tensor = TensorSource {
            name: "w".into(),
            file: 0,
            offset: 0,
            bytes: 2 * (m * k) as u64,
            dtype: DType::Bf16,
            shape: vec![m as u64, k as u64],
        };
        let ones = [0x80, 0x3F].repeat(m * k);
        let weights = engine.open_weights(Source { files: vec![File::Bytes(ones)], tensors: vec![tensor], mmap: true }).unwrap();
        let written = |patience: u64| {
            // A program of its own, so that its output is of this run.
            let program = engine.load_plan(&product(op, l, k, m), Some(weights)).unwrap();
            engine.put(program, "x", &f32s(&vec![1.0; l * k])).unwrap();
            if op != "linear" {
                engine.put(program, "targets", &i32s(&(0..l).map(|r| (r * (m / l)) as i32).collect::<Vec<_>>())).unwrap();
            }
            let (abort, (send, receive)) = (Arc::new(AtomicBool::new(false)), channel());
            engine.run(program, None, 1, abort.clone(), Box::new(move |result| send.send(result.map_err(|e| e.code())).unwrap()));
            std::thread::sleep(std::time::Duration::from_millis(patience));
            abort.store(true, SeqCst);
            assert_eq!(receive.recv(), Ok(Err("aborted")), "{op}: it ran to its end for all that it was told after {patience} ms");
            let y = engine.get(program, "y").unwrap();
            engine.release(program);
            y.chunks(4).map(|y| y != [0; 4]).collect::<Vec<_>>()
        };
        // Until one is told while the node runs.
        let found = (0..).map(|i| written(1 << i)).find(|written| written.contains(&true)).unwrap();
        assert!(found.contains(&false), "{op}");
    }
}

#[test]
fn dispose_does_what_was_asked_before_it_and_nothing_after() {
    let engine = open("{}");
    let program = engine.load_plan(&norm(4, 4), None).unwrap();
    assert!(engine.info().bytes.io > 0);
    let (send, receive) = channel();
    for i in 0..4 {
        let send = send.clone();
        let reply = Box::new(move |result: Result<(), statespace_engine::Error>| send.send((i, result.map_err(|e| e.code()))).unwrap());
        if i == 2 { engine.dispose(reply) } else { engine.run(program, None, 1, Arc::new(AtomicBool::new(false)), reply) }
    }
    let replies: Vec<_> = (0..4).map(|_| receive.recv().unwrap()).collect();
    assert_eq!(replies, [(0, Ok(())), (1, Ok(())), (2, Ok(())), (3, Err("disposed"))]);
    assert_eq!(engine.info().bytes, Bytes::default());
    assert_eq!(engine.end(), Ok(()), "twice is fine");
    assert_eq!(engine.load_plan(&norm(1, 1), None).unwrap_err().code(), "disposed");
}

#[test]
fn shutdown_aborts_the_run_drops_the_queue_and_ends_the_thread() {
    let engine = open(r#"{"threads":2}"#);
    let (_, end) = endless(&engine);
    let (send, queued) = channel();
    engine.read(1, "x".into(), Box::new(move |result| send.send(result.unwrap_err().code()).unwrap()));
    engine.clone().shutdown();
    // Both replies were given before the thread was joined.
    assert!(["aborted", "disposed"].contains(&end.try_recv().unwrap()));
    assert_eq!(queued.try_recv(), Ok("disposed"));
    engine.shutdown();
    assert_eq!(engine.new_state(1).unwrap_err().code(), "disposed");
    assert_eq!(engine.end().unwrap_err().code(), "disposed");
}

#[test]
fn a_reply_may_call_the_engine_and_shut_it_down() {
    let engine = open("{}");
    let (send, receive) = channel();
    let inner = engine.clone();
    engine.state(
        9,
        Box::new(move |result| {
            inner.state(8, Box::new(move |result| send.send(result.unwrap_err().code()).unwrap()));
            inner.shutdown();
            assert_eq!(result.unwrap_err().code(), "handle");
        }),
    );
    assert_eq!(receive.recv(), Ok("disposed"));
    engine.shutdown();
}

#[test]
fn dropping_the_last_handle_finishes_what_was_asked_and_ends_the_thread() {
    let (send, receive) = channel();
    let engine = open(r#"{"threads":3}"#);
    let other = engine.clone();
    for _ in 0..3 {
        let send = send.clone();
        other.load(norm(2, 2).to_string(), None, Box::new(move |result| send.send(result.is_ok()).unwrap()));
    }
    drop((engine, other, send));
    // The channel closes when the thread has dropped what it had.
    assert_eq!(receive.iter().collect::<Vec<_>>(), [true; 3]);
}

#[test]
fn two_engines_run_at_once() {
    let case = Case::new(block(&Sizes { b: 2, l: 9, d: 48, e: 96, n: 8, v: 50, compute: "f32" }), 5, 49);
    let (a, b) = (open(r#"{"threads":2}"#), open(r#"{"threads":2,"memory":"flat"}"#));
    let loaded = [&a, &b].map(|engine| (engine, case.load(engine).unwrap()));
    let (send, receive) = channel();
    for _ in 0..20 {
        for (engine, (program, state)) in &loaded {
            let send = send.clone();
            engine.run(*program, Some(*state), 1, Arc::new(AtomicBool::new(false)), Box::new(move |result| send.send(result).unwrap()));
        }
    }
    drop(send);
    assert_eq!(receive.iter().filter(Result::is_ok).count(), 40);
    let [ssm, other] = loaded.map(|(engine, (_, state))| engine.get(state, "ssm").unwrap());
    assert_eq!(ssm, other);
}

#[test]
fn memory_is_counted_shared_and_given_back() {
    let engine = open(r#"{"threads":2}"#);
    let case = |l| Case::new(block(&Sizes { b: 1, l, d: 16, e: 32, n: 4, v: 20, compute: "f32" }), 1, 19);
    let empty = engine.info().bytes;
    let (small, state) = case(2).load(&engine).unwrap();
    let one = engine.info().bytes;
    let (large, other) = case(40).load(&engine).unwrap();
    let two = engine.info().bytes;
    assert!(two.temp > one.temp && two.io > one.io && one.temp > 0 && one.scratch > 0);
    assert_eq!((two.weights, two.state), (2 * one.weights, 2 * one.state));
    engine.release(large);
    engine.release(other);
    assert_eq!(engine.go(large, None, 1).unwrap_err().code(), "handle");
    assert_eq!(engine.info().bytes, one);
    engine.go(small, Some(state), 1).unwrap();
    engine.release(small);
    engine.release(state);
    engine.release(state);
    assert_eq!(engine.get(state, "ssm").unwrap_err().code(), "handle");
    assert_eq!(engine.info().bytes, empty);
}
