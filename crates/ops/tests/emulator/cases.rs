//! Cases beside the op table's, for what a GPU does in other ways than a CPU.

use half::{bf16, f16};
use serde_json::{Value, json};
use statespace_ops::cases::{Case, Data, own_case};

use super::node::{Way, run};
use crate::parity::check_cases;

/// Cases of each stored type.
pub fn stored(op: &str, specs: &[Value]) -> Vec<Case> {
    let of = |spec: &Value, dtype: &str| {
        let mut case = own_case(op, spec);
        (case.label, case.dtype) = (format!("{op} {dtype} {spec}"), dtype.into());
        case
    };
    specs.iter().flat_map(|spec| ["f32", "bf16", "f16"].map(|dtype| of(spec, dtype))).collect()
}

fn cases(op: &str, specs: &[Value]) -> Vec<Case> {
    specs.iter().map(|spec| own_case(op, spec)).collect()
}

/// Every kernel with each type of activations: whole tiles and what ends within one, groups, states that are fewer than a kernel's.
pub fn scan_ways() {
    // Six blocks of 64 channels fill the four multiprocessors.
    let wide = [[3, 70, 128, 16], [6, 33, 70, 11], [2, 64, 192, 16]];
    let few = [[1, 130, 33, 16], [2, 70, 40, 8], [1, 40, 64, 5], [1, 66, 16, 32], [1, 33, 20, 31], [2, 64, 16, 64], [1, 65, 17, 128]];
    let dims = |[b, l, e, n]: [u64; 4]| json!({ "b": b, "l": l, "e": e, "n": n });
    let wide = wide.map(|sizes| json!({ "dims": dims(sizes) }));
    let few = few.map(|sizes| json!({ "dims": dims(sizes) }));
    let others = [
        json!({ "dims": dims([3, 133, 40, 5]), "lens": [133, 70, 0], "without": ["z"], "ranges": { "dt": [-8, -4] } }),
        json!({ "dims": dims([7, 100, 64, 16]), "lens": [100, 64, 65, 0, 32, 31, 1], "without": ["D"] }),
        json!({ "dims": dims([2, 200, 12, 8]), "lens": [128, 129], "ranges": { "dt": [-25, 30] } }),
        json!({ "dims": dims([2, 35, 64, 16]), "attrs": { "groups": 4 }, "ld": { "u": 72, "dt": 80, "z": 64, "B": 64, "C": 88 } }),
        json!({ "dims": dims([2, 33, 256, 16]), "attrs": { "groups": 2 } }),
        json!({ "dims": dims([1, 70, 70, 64]), "attrs": { "groups": 2 } }),
        json!({ "dims": dims([2, 3, 34, 1000]), "lens": [2, 3] }),
        json!({ "dims": dims([2, 1, 34, 130]), "lens": [0, 1], "without": ["D"] }),
        json!({ "dims": dims([9, 1, 96, 16]), "attrs": { "groups": 3 } }),
        // Sixteen blocks of 128 channels are enough for four a thread.
        json!({ "dims": dims([8, 1, 132, 16]), "lens": [1, 1, 0, 1, 1, 1, 1, 1] }),
        json!({ "dims": dims([16, 1, 64, 5]), "without": ["z", "D", "dt_bias"] }),
        json!({
            "dims": dims([1, 20, 9, 4]),
            "attrs": { "softplus": false },
            "ranges": { "dt": [0, 0.2], "A": [-900, 3] },
            "without": ["dt_bias"]
        }),
    ];
    check_cases(&stored("scan", &[&wide[..], &few, &others].concat()), 1);
}

/// A y that is narrower than the inputs is their f32 y, rounded.
pub fn scan_rounds_y() {
    let specs = [[2, 1, 34], [2, 37, 72], [6, 37, 64]].map(|[b, l, e]| json!({ "dims": { "b": b, "l": l, "e": e, "n": 16 } }));
    for case in stored("scan", &specs).into_iter().filter(|case| case.dtype == "f32") {
        let inputs = case.inputs(0);
        let y = |to| run(&case, &inputs, Way { to, ..Way::default() }).expect("launches").written.swap_remove(0).1;
        let (Data::F32(wide), Data::Bf16(bf16s), Data::F16(f16s)) = (y(None), y(Some("bf16")), y(Some("f16"))) else {
            panic!("types of y")
        };
        let unwritten = 0xFFDE;
        for (i, wide) in wide.iter().enumerate() {
            let [bf16, f16] =
                if wide.is_nan() { [unwritten; 2] } else { [bf16::from_f32(*wide).to_bits(), f16::from_f32(*wide).to_bits()] };
            assert_eq!((bf16s[i], f16s[i]), (bf16, f16), "{i} of {}", case.label);
        }
    }
}

/// A norm or a convolution in bf16 is that in f32, rounded.
pub fn narrow_rows() {
    let norm = [64, 67, 2300].map(|d| ("rmsnorm", json!({ "dims": { "b": 2, "l": 3, "d": d }, "lens": [3, 1] })));
    let shapes = [(1, 260, 4), (37, 260, 4), (37, 131, 4), (9, 64, 3)];
    let conv = shapes.map(|(l, e, w)| ("conv1d_silu", json!({ "dims": { "b": 2, "l": l, "e": e, "w": w }, "lens": [l, l / 2] })));
    for (op, spec) in norm.into_iter().chain(conv) {
        let case = own_case(op, &spec);
        let mut inputs = case.inputs(0);
        let x = inputs[0].as_mut().expect("x");
        let rounded: Vec<bf16> = x.f32().iter().map(|x| bf16::from_f32(*x)).collect();
        x.data = Data::F32(rounded.iter().map(|x| x.to_f32()).collect());
        let y = |inputs: &[_], to| run(&case, inputs, Way { to, ..Way::default() }).expect("launches").written;
        let wide = y(&inputs, None);
        if op == "conv1d_silu" {
            inputs[0].as_mut().expect("x").data = Data::Bf16(rounded.iter().map(|x| x.to_bits()).collect());
            let mixed = y(&inputs, None);
            assert_eq!(mixed[0].1.bytes(), wide[0].1.bytes(), "{}", case.label);
        }
        let narrow = y(&inputs, Some("bf16"));
        let (Data::F32(wide_y), Data::Bf16(narrow_y)) = (&wide[0].1, &narrow[0].1) else { panic!("types of y") };
        for (i, wide) in wide_y.iter().enumerate() {
            let wanted = if wide.is_nan() { 0xFFDE } else { bf16::from_f32(*wide).to_bits() };
            assert_eq!(narrow_y[i], wanted, "{i} of {}", case.label);
        }
        let states = |written: &[(String, Data)]| written[1..].iter().map(|(_, data)| data.bytes()).collect::<Vec<_>>();
        assert_eq!(states(&wide), states(&narrow), "{}", case.label);
    }
}

/// Ends of tiles, and widths with and without a kernel of their own.
pub fn conv1d_silu_tiles() {
    let lengths = [8, 31, 32, 33, 64, 100].map(|l| json!({ "dims": { "b": 2, "l": l, "e": 130, "w": 4 }, "lens": [l, l - 1] }));
    let widths = [2, 5, 8, 40].map(|w| json!({ "dims": { "b": 3, "l": 67, "e": 5, "w": w }, "lens": [67, 1, 33], "ld": { "x": 8 } }));
    check_cases(&cases("conv1d_silu", &[&lengths[..], &widths].concat()), 1);
}

/// A released model's vocabulary under all sampler rows, with few and with many survivors.
pub fn sample_large() {
    let spread = |range: f64| {
        let (dims, attrs) = (json!({ "b": 12, "v": 50280, "k": 2 }), json!({ "vocab": 50277, "steps": 1 }));
        json!({ "dims": dims, "attrs": attrs, "ranges": { "logits": [-range, range] } })
    };
    check_cases(&cases("sample", &[spread(20.0), spread(1.0)]), 1);
}

/// One row, which takes one launch, of several shares: live and frozen, with different scores and with equal ones.
pub fn sample_one_row() {
    let of = |v: usize, range: [f64; 2], len: usize| {
        let (dims, attrs) = (json!({ "b": 1, "v": v, "k": 2 }), json!({ "steps": 2 }));
        json!({ "dims": dims, "attrs": attrs, "lens": [len], "ranges": { "logits": range } })
    };
    check_cases(&cases("sample", &[of(8195, [-8.0, 8.0], 1), of(8195, [1.0, 1.0], 1), of(4097, [-1.0, 1.0], 0)]), 12);
}

/// Equal scores, in tens and all of them.
pub fn sample_ties() {
    let of =
        |v: usize, high: f64| json!({ "dims": { "b": 12, "v": v, "k": 2 }, "attrs": { "steps": 2 }, "ranges": { "logits": [1.0, high] } });
    check_cases(&cases("sample", &[of(300, 1.0), of(3000, 1.0), of(1500, 1.000002), of(6000, 1.00002)]), 1);
}

/// Rows that vectors divide, of one block and of several, and pitched; every stored type into every other.
pub fn rows_of_vectors() {
    for (op, pitched) in [("embed", None), ("rmsnorm", Some("x")), ("add", None), ("softplus", Some("x"))] {
        let spec = |d: usize| json!({ "dims": { "b": 2, "l": 3, "d": d, "v": 9 }, "lens": [3, 1] });
        let mut specs = vec![spec(4), spec(64), spec(1100), spec(1101)];
        specs.extend(pitched.map(|name| json!({ "dims": { "b": 1, "l": 3, "d": 128 }, "ld": { name: 132 } })));
        check_cases(&cases(op, &specs), 1);
    }
    for to in ["f32", "bf16", "f16"] {
        let narrow =
            json!({ "dims": { "b": 1, "l": 3, "d": 36 }, "attrs": { "to": to }, "ld": { "x": 40 }, "ranges": { "x": [-1e-6, 1e-6] } });
        let wide = json!({ "dims": { "b": 2, "l": 3, "d": 65 }, "attrs": { "to": to }, "lens": [1, 3], "ranges": { "x": [-7e4, 7e4] } });
        for dtype in ["f32", "bf16", "f16"] {
            let mut cases = cases("cast", &[narrow.clone(), wide.clone()]);
            cases.iter_mut().for_each(|case| case.dtype = dtype.into());
            check_cases(&cases, 2);
        }
    }
}

/// An id outside of the vocabulary is reported, unless its row is over, and gives NaN.
pub fn embed_reports_a_bad_id() {
    let case = own_case("embed", &json!({ "dims": { "b": 2, "l": 3, "d": 8, "v": 5 }, "lens": [3, 1] }));
    for (tokens, fault) in [([0, 1, 2, 3, -1, 5], None), ([0, 5, 2, 3, 4, 4], Some(5)), ([0, 1, 2, -7, 4, 4], Some(-7))] {
        let mut inputs = case.inputs(0);
        inputs[0].as_mut().expect("tokens").data = Data::I32(tokens.to_vec());
        let ran = run(&case, &inputs, Way::default()).expect("a launch");
        assert_eq!(ran.fault, fault, "of {tokens:?}");
        let Data::F32(y) = &ran.written[0].1 else { panic!("embed writes floats") };
        // Rows that are over were NaN before.
        let unwritten = (0..6).filter(|&row| row % 3 >= [3, 1][row / 3] || !(0..5).contains(&tokens[row]));
        assert!(unwritten.clone().all(|row| y[row * 8..][..8].iter().all(|v| v.is_nan())), "of {tokens:?}");
        assert_eq!(y.iter().filter(|v| v.is_nan()).count(), 8 * unwritten.count(), "of {tokens:?}");
    }
}
