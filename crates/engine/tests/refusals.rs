//! What is refused, and in which words.

mod kit;

use kit::build::{Sizes, block, norm, sum};
use kit::case::Case;
use kit::{Wait, emulated, f32s, i32s, open, options};
use serde_json::{Value, json};
use statespace_engine::{Engine, Error, Options, check};

fn small() -> Case {
    Case::new(block(&Sizes { b: 2, l: 3, d: 8, e: 12, n: 4, v: 20, compute: "f32" }), 2, 19)
}

fn json(error: &Error) -> Value {
    let value: Value = serde_json::from_str(&error.to_json()).unwrap();
    assert_eq!(value["code"], error.code());
    assert!(!value["message"].as_str().unwrap().is_empty());
    value
}

/// One of each executor.
fn engines() -> Vec<Engine> {
    let mut all = vec![open(r#"{"threads":2}"#), open(r#"{"executor":"reference"}"#)];
    all.extend(emulated(""));
    all
}

#[test]
fn options_are_checked() {
    for (text, word) in
        [(r#"{"threads":0}"#, "threads is 0"), (r#"{"threads":5000}"#, "threads is 5000"), (r#"{"isa":"mmx"}"#, "isa is mmx")]
    {
        let error = Engine::open(options(text)).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), "option");
        assert!(error.to_string().contains(word), "{error}");
    }
    for text in [r#"{"thread":1}"#, r#"{"memory":"tight"}"#, r#"{"executor":"gpu"}"#, r#"{"threads":-1}"#] {
        assert!(serde_json::from_str::<Options>(text).is_err(), "{text}");
    }
    let engine = open(r#"{"executor":"reference","threads":2,"memory":"planned","guard":false,"dump":true}"#);
    assert_eq!((engine.info().isa.as_str(), engine.info().threads), ("reference", 1));
    let engine = open(r#"{"isa":"scalar","threads":3}"#);
    assert_eq!((engine.info().isa.as_str(), engine.info().threads), ("scalar", 3));
}

#[test]
fn plans_are_checked() {
    let mut plan = norm(2, 4);
    assert_eq!(check(&plan.to_string()), []);
    plan["buffers"][1]["bytes"] = json!(4);
    for engine in engines() {
        let error = engine.load_plan(&plan, None).unwrap_err();
        assert_eq!(error.code(), "plan");
        assert_eq!(json(&error)["issues"][0]["code"], "size");
    }
    assert_eq!(check(&plan.to_string())[0].code, "size");
    plan["opset"] = json!("0000000000000000");
    let error = open("{}").load_plan(&plan, None).unwrap_err();
    assert_eq!((error.code(), &json(&error)["issues"][0]["code"]), ("opset", &json!("opset")));
}

#[test]
fn ids_out_of_range_name_the_node_and_the_id() {
    let case = small();
    for engine in engines() {
        let (program, state) = case.load(&engine).unwrap();
        // Row 1 has 2 valid positions: what lies behind them is not looked at.
        engine.put(program, "tokens", &i32s(&[1, 19, 2, 3, 4, 20])).unwrap();
        engine.go(program, Some(state), 1).unwrap();
        for (ids, bad) in [([1, 20, 2, 3], 20), ([1, 2, 3, -1], -1)] {
            engine.put(program, "tokens", &i32s(&ids)).unwrap();
            let error = engine.go(program, Some(state), 1).unwrap_err();
            assert_eq!(error, Error::TokenRange { node: 0, at: "test embed".into(), id: bad, limit: 20 });
            assert_eq!(json(&error)["id"], bad);
        }
        engine.put(program, "tokens", &i32s(&[1; 4])).unwrap();
        // The last id of the table is not in the vocabulary.
        engine.put(program, "targets", &i32s(&[1, 19, 2, 3])).unwrap();
        let error = engine.go(program, Some(state), 1).unwrap_err();
        assert_eq!(error, Error::TokenRange { node: 10, at: "test linear_cross_entropy".into(), id: 19, limit: 19 });
    }
}

#[test]
fn states_fit_programs_of_their_layout_only() {
    for engine in engines() {
        let load = |plan| engine.load_plan(&plan, None).unwrap();
        let (program, longer, renamed, moved, wider) = (
            load(sum(2, 4, "acc", 0)),
            load(sum(7, 4, "acc", 0)),
            load(sum(2, 4, "sum", 0)),
            load(sum(2, 4, "acc", 9)),
            load(sum(2, 5, "acc", 0)),
        );
        let state = engine.new_state(program).unwrap();
        engine.put(longer, "x", &f32s(&[1.0; 28])).unwrap();
        engine.go(longer, Some(state), 2).unwrap();
        assert_eq!(engine.get(state, "acc").unwrap(), f32s(&[14.0; 4]));
        for other in [renamed, moved, wider] {
            let error = engine.go(other, Some(state), 1).unwrap_err();
            assert_eq!(error.code(), "state_layout");
            assert!(error.to_string().contains("acc f32[4]") || error.to_string().contains("acc f32[1, 4]"), "{error}");
            let state_of_other = engine.new_state(other).unwrap();
            let error = wait_copy(&engine, state_of_other, state).unwrap_err();
            assert_eq!(error.code(), "state_layout");
        }
        assert_eq!(engine.go(program, None, 1).unwrap_err().code(), "state_layout");
        let stateless = load(norm(1, 1));
        assert_eq!(engine.go(stateless, Some(state), 1).unwrap_err().code(), "state_layout");
        let fork = engine.new_state(longer).unwrap();
        wait_copy(&engine, fork, state).unwrap();
        wait_copy(&engine, fork, fork).unwrap();
        engine.go(longer, Some(state), 1).unwrap();
        assert_eq!(engine.get(fork, "acc").unwrap(), f32s(&[14.0; 4]), "a copy is apart");
        assert_eq!(engine.get(state, "acc").unwrap(), f32s(&[21.0; 4]));
    }
}

fn wait_copy(engine: &Engine, to: u32, from: u32) -> Result<(), Error> {
    kit::wait(|reply| engine.copy_state(to, from, reply))
}

#[test]
fn names_and_lengths_are_checked_and_a_front_may_be_written() {
    for engine in engines() {
        let program = engine.load_plan(&norm(2, 2), None).unwrap();
        engine.put(program, "x", &f32s(&[1.0, 2.0, 3.0, 4.0])).unwrap();
        engine.put(program, "x", &f32s(&[5.0])).unwrap();
        assert_eq!(engine.get(program, "x").unwrap(), f32s(&[5.0, 2.0, 3.0, 4.0]));
        engine.put(program, "x", &[]).unwrap();
        for (name, bytes) in [("x", &[0; 17][..]), ("x", &[0; 20]), ("x", &[0; 3]), ("y", &[0; 4]), ("z", &[0; 4])] {
            assert_eq!(engine.put(program, name, bytes).unwrap_err().code(), "option", "{name} {}", bytes.len());
        }
        for name in ["z", "node.0.0", "node.x", "node.0", "node.9.9"] {
            assert_eq!(engine.get(program, name).unwrap_err().code(), "option", "{name}");
        }
        let program = engine.load_plan(&sum(2, 4, "acc", 0), None).unwrap();
        let state = engine.new_state(program).unwrap();
        assert_eq!(engine.get(state, "acc").unwrap(), [0; 16]);
        engine.put(state, "acc", &f32s(&[1.0, 2.0])).unwrap();
        assert_eq!(engine.get(state, "acc").unwrap(), f32s(&[1.0, 2.0, 0.0, 0.0]));
        assert_eq!(engine.put(state, "acc", &[0; 20]).unwrap_err().code(), "option");
        assert_eq!(engine.put(state, "x", &[0; 4]).unwrap_err().code(), "option");
        assert_eq!(engine.get(state, "x").unwrap_err().code(), "option");
    }
}

#[test]
fn handles_are_of_one_kind() {
    for engine in engines() {
        let (program, state) = small().load(&engine).unwrap();
        assert_eq!(engine.new_state(state).unwrap_err().code(), "handle");
        assert_eq!(engine.go(state, None, 1).unwrap_err().code(), "handle");
        assert_eq!(engine.go(program, Some(program), 1).unwrap_err().code(), "handle");
        assert_eq!(wait_copy(&engine, state, program).unwrap_err().code(), "handle");
        assert_eq!(wait_copy(&engine, program, state).unwrap_err().code(), "handle");
        let error = engine.load_plan(&small().plan, Some(program)).unwrap_err();
        assert_eq!((error.code(), &json(&error)["handle"]), ("handle", &json!(program)));
        assert_eq!(engine.load_plan(&small().plan, None).unwrap_err().code(), "weights");
    }
}

#[test]
fn steps_are_no_more_than_there_are_slots() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../test/golden/plans/sample.json");
    let case = Case::new(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap(), 1, 20);
    for engine in engines() {
        let (program, state) = case.load(&engine).unwrap();
        engine.go(program, Some(state), 8).unwrap();
        engine.go(program, Some(state), 0).unwrap();
        assert_eq!(engine.go(program, Some(state), 9).unwrap_err().code(), "option");
    }
}

#[test]
fn memory_that_cannot_be_had_is_refused_and_the_engine_goes_on() {
    let engine = open("{}");
    let good = engine.load_plan(&norm(2, 2), None).unwrap();
    let mut plan = norm(1, 1);
    plan["spaces"]["temp"] = json!(1u64 << 62);
    let error = engine.load_plan(&plan, None).unwrap_err();
    assert_eq!((error.code(), &json(&error)["needed"]), ("memory", &json!(1u64 << 62)));
    engine.go(good, None, 1).unwrap();
}
