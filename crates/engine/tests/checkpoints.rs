//! Tensors from files and from memory, at any offset, and what is wrong with them.

mod kit;

use std::path::PathBuf;

use half::{bf16, f16};
use kit::build::{Build, Sizes, block};
use kit::case::Case;
use kit::{Wait, f32s, open, wait};
use serde_json::{Value, json};
use statespace_engine::{DType, Engine, File, Source, TensorSource};

/// Multiplies 1 by a weight [d], which is read as `form`.
fn scale(form: &str, d: usize) -> Value {
    let mut p = Build::default();
    let (x, y) = (p.placed("in", "io", "f32", &[1, 1, d]), p.placed("out", "io", "f32", &[1, 1, d]));
    let weight = p.weight("w", form, false, "f32", &[d]);
    p.node("rmsnorm", &[Some(x), Some(weight), None], &[y], json!({ "eps": 0.0 }));
    p.finish(&[("x", x)], &[("y", y)])
}

fn tensor(name: &str, offset: usize, dtype: DType, shape: &[u64]) -> TensorSource {
    let bytes = shape.iter().product::<u64>() * dtype.size();
    TensorSource { name: name.into(), file: 0, offset: offset as u64, bytes, dtype, shape: shape.to_vec() }
}

fn source(bytes: Vec<u8>, tensors: Vec<TensorSource>) -> Source {
    Source { files: vec![File::Bytes(bytes)], tensors, mmap: true }
}

fn scaled(engine: &Engine, source: Source, form: &str, d: usize) -> Vec<u8> {
    let weights = engine.open_weights(source).unwrap();
    let program = engine.load_plan(&scale(form, d), Some(weights)).unwrap();
    engine.put(program, "x", &f32s(&vec![1.0; d])).unwrap();
    engine.go(program, None, 1).unwrap();
    engine.get(program, "y").unwrap()
}

#[test]
fn any_offset_and_float_is_read_alike() {
    let values = [0.5, -2.0, 3.0, 0.25, 7.0];
    for engine in [open("{}"), open(r#"{"executor":"reference"}"#)] {
        for offset in 0..9 {
            let with = |bytes: Vec<u8>, dtype| source([vec![0xFF; offset], bytes].concat(), vec![tensor("w", offset, dtype, &[5])]);
            let wide = || with(f32s(&values), DType::F32);
            assert_eq!(scaled(&engine, wide(), "stored", 5), f32s(&values), "offset {offset}");
            assert_eq!(scaled(&engine, wide(), "f32", 5), f32s(&values));
            let narrow = with(values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(), DType::Bf16);
            assert_eq!(scaled(&engine, narrow.clone(), "f32", 5), f32s(&values));
            assert_eq!(scaled(&engine, narrow, "negexp", 5), f32s(&values.map(|v| -f64::from(v).exp() as f32)));
            let half = with(values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(), DType::F16);
            assert_eq!(scaled(&engine, half, "f32", 5), f32s(&values));
        }
    }
}

#[test]
fn a_file_is_mapped_or_copied() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tensors.bin");
    std::fs::write(&path, [vec![9], f32s(&[2.0, 4.0])].concat()).unwrap();
    let engine = open("{}");
    for mmap in [true, false] {
        let source = Source { files: vec![File::Path(path.clone())], tensors: vec![tensor("w", 1, DType::F32, &[2])], mmap };
        assert_eq!(scaled(&engine, source, "stored", 2), f32s(&[2.0, 4.0]));
    }
    let empty = path.with_extension("empty");
    std::fs::write(&empty, []).unwrap();
    for mmap in [true, false] {
        engine
            .open_weights(Source { files: vec![File::Path(empty.clone())], tensors: vec![tensor("w", 0, DType::F32, &[0])], mmap })
            .unwrap();
        for path in [path.with_extension("none"), path.parent().unwrap().to_path_buf()] {
            let error = engine.open_weights(Source { files: vec![File::Path(path.clone())], tensors: vec![], mmap }).unwrap_err();
            assert_eq!(error.code(), "file");
            let json: Value = serde_json::from_str(&error.to_json()).unwrap();
            assert_eq!(json["file"], path.display().to_string());
        }
    }
}

#[test]
fn tensors_that_are_not_there_are_refused_by_name() {
    let engine = open("{}");
    let good = || tensor("w", 0, DType::F32, &[2]);
    let bad = [
        vec![TensorSource { file: 1, ..good() }],
        vec![TensorSource { offset: 1, ..good() }],
        vec![TensorSource { offset: u64::MAX, ..good() }],
        vec![TensorSource { bytes: 4, ..good() }],
        vec![TensorSource { bytes: 12, shape: vec![3], ..good() }],
        vec![TensorSource { shape: vec![1 << 40, 1 << 40], ..good() }],
        vec![good(), good()],
    ];
    for tensors in bad {
        let shown = format!("{tensors:?}");
        let error = engine.open_weights(source(vec![0; 8], tensors)).expect_err(&shown);
        assert_eq!(error.code(), "weights", "{shown}");
        let json: Value = serde_json::from_str(&error.to_json()).unwrap();
        assert_eq!(json["tensor"], "w");
    }
}

#[test]
fn tensors_that_are_not_what_the_plan_wants_are_refused() {
    let bytes = || vec![0; 64];
    for (form, tensors) in [
        ("stored", vec![tensor("v", 0, DType::F32, &[2])]),
        ("stored", vec![tensor("w", 0, DType::F32, &[3])]),
        ("stored", vec![tensor("w", 0, DType::F32, &[1, 2])]),
        ("stored", vec![tensor("w", 0, DType::Bf16, &[2])]),
        ("f32", vec![tensor("w", 0, DType::I32, &[2])]),
        ("negexp", vec![tensor("w", 0, DType::F32, &[4])]),
    ] {
        for engine in [open("{}"), open(r#"{"executor":"reference"}"#)] {
            let weights = engine.open_weights(source(bytes(), tensors.clone())).unwrap();
            let error = engine.load_plan(&scale(form, 2), Some(weights)).unwrap_err();
            assert_eq!(error.code(), "weights", "{form} {tensors:?}");
        }
    }
}

#[test]
fn forms_are_made_once_and_live_as_long_as_a_program_needs_them() {
    let engine = open("{}");
    let case = Case::new(block(&Sizes { b: 1, l: 2, d: 8, e: 12, n: 4, v: 20, compute: "f32" }), 2, 19);
    let weights = engine.open_weights(case.source.clone()).unwrap();
    let files = engine.info().bytes.weights;
    let first = engine.load_plan(&case.plan, Some(weights)).unwrap();
    let formed = engine.info().bytes.weights;
    let second = engine.load_plan(&case.plan, Some(weights)).unwrap();
    assert!(formed > files);
    assert_eq!(engine.info().bytes.weights, formed);
    engine.release(weights);
    engine.release(first);
    let state = engine.new_state(second).unwrap();
    assert_eq!(engine.info().bytes.weights, formed);
    engine.go(second, Some(state), 1).unwrap();
    engine.release(second);
    engine.get(state, "ssm").unwrap();
    assert_eq!(engine.info().bytes.weights, 0);
}

#[test]
fn the_first_tensor_with_a_number_that_is_none_is_named() {
    let engine = open("{}");
    let first = |source| {
        let weights = engine.open_weights(source).unwrap();
        wait(|reply| engine.first_non_finite(weights, reply)).unwrap()
    };
    // What are infinities of one width in another are numbers.
    let tensors = || {
        let i = TensorSource { dtype: DType::I32, ..tensor("i", 1, DType::F32, &[1]) };
        vec![i, tensor("a", 5, DType::F32, &[3000]), tensor("b", 12005, DType::Bf16, &[3]), tensor("c", 12011, DType::F16, &[3])]
    };
    let bytes =
        || [vec![0, 0, 0, 0x80, 0x7F], f32s(&[f32::MAX; 3000]), vec![0x7F, 0x7F, 0, 0, 0, 0x7C], vec![0, 0, 0xFF, 0x7B, 0, 0]].concat();
    // bf16's third is 0x7C00, an infinity of f16 and a number of bf16; the f16s end with the largest.
    assert_eq!(first(source(bytes(), tensors())), None);
    for (at, number, name) in [
        (12001, f32::INFINITY.to_le_bytes().to_vec(), "a"),
        (5, f32::NAN.to_le_bytes().to_vec(), "a"),
        (12007, bf16::NEG_INFINITY.to_le_bytes().to_vec(), "b"),
        (12015, f16::NAN.to_le_bytes().to_vec(), "c"),
        (12011, f16::INFINITY.to_le_bytes().to_vec(), "c"),
    ] {
        let mut bad = bytes();
        bad[at..at + number.len()].copy_from_slice(&number);
        assert_eq!(first(source(bad, tensors())), Some(name.to_owned()), "byte {at}");
    }
    assert_eq!(wait(|reply| engine.first_non_finite(77, reply)).unwrap_err().code(), "handle");
}
