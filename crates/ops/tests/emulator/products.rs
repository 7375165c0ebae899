//! Cases of the products beside the op table's: each way that `linear/cuda.rs` knows, with each stored type of W.

use serde_json::{Value, json};
use statespace_ops::cases::{Data, own_case};

use super::cases::stored;
use super::node::{Way, run};
use crate::parity::check_cases;

/// All ways of the product at the ends of its tiles, vectors and warps.
pub fn linear_shapes() {
    let (columns, outputs) = ([1, 7, 64, 129, 768], [1, 33, 257, 600]);
    let shape = |rows: usize, i: usize, k: usize| {
        let (b, m, compute) =
            (if rows.is_multiple_of(2) { 2 } else { 1 }, outputs[(rows + i) % 4], ["f32", "bf16"][(rows / 2 + i / 2) % 2]);
        let l = rows / b;
        let lens = if b == 2 { json!([l, l - 1]) } else { json!([l]) };
        json!({ "dims": { "b": b, "l": l, "k": k, "m": m }, "lens": lens, "attrs": { "compute": compute } })
    };
    let rows = [1, 3, 8, 9, 17, 66];
    let shapes: Vec<Value> = rows.iter().flat_map(|&rows| columns.iter().enumerate().map(move |(i, &k)| shape(rows, i, k))).collect();
    check_cases(&stored("linear", &shapes), 1);
}

/// More columns than shared memory takes at once, more outputs than blocks.
pub fn linear_long() {
    let of = |rows: usize, k: usize, m: usize| json!({ "dims": { "b": rows, "l": 1, "k": k, "m": m } });
    check_cases(&stored("linear", &[of(1, 12400, 9), of(3, 6200, 21), of(8, 3208, 70), of(1, 40, 3001), of(7, 520, 400)]), 1);
}

/// Around cuBLASLt: with and without what it does not know, and x whose range is not that of f16.
pub fn linear_rounded() {
    let dims = json!({ "b": 2, "l": 20, "k": 24, "m": 150 });
    let bf16 = json!({ "compute": "bf16" });
    // As many columns as are rounded, or lie in scratch, in two blocks.
    let wide = json!({ "b": 2, "l": 65, "k": 8, "m": 2100 });
    let mut specs = vec![json!({ "dims": wide, "attrs": bf16, "lens": [65, 20] })];
    for without in [json!([]), json!(["bias"]), json!(["residual"]), json!(["bias", "residual"])] {
        specs.push(json!({ "dims": dims, "attrs": bf16, "without": without }));
        specs.push(json!({ "dims": dims, "attrs": bf16, "without": without, "lens": [20, 3] }));
    }
    for range in [1e-30, 1e-6, 3e5, 1e30] {
        let range = [-range, range];
        let dims = json!({ "b": 1, "l": 40, "k": 64, "m": 30 });
        specs.push(json!({ "dims": dims, "attrs": bf16, "without": ["bias", "residual"], "ranges": { "x": range } }));
    }
    check_cases(&stored("linear", &specs), 1);
}

/// With x and y of 16 bits: the bits are those of a y of 32 that is rounded afterwards.
pub fn linear_narrow() {
    let dims = json!({ "b": 2, "l": 20, "k": 24, "m": 150 });
    for without in [json!([]), json!(["bias"]), json!(["residual"]), json!(["bias", "residual"])] {
        let spec = json!({ "dims": dims, "attrs": { "compute": "bf16" }, "without": without, "lens": [20, 3], "ld": { "x": 40 } });
        for case in stored("linear", &[spec]).iter().filter(|case| case.dtype != "f16") {
            let wide = case.inputs(0);
            let mut inputs = wide.clone();
            let x = inputs[0].as_mut().expect("x");
            x.data = Data::Bf16(x.f32().iter().map(|x| half::bf16::from_f32(*x).to_bits()).collect());
            for whole in [false, true] {
                let way = Way { gemm: true, whole, ..Way::default() };
                let [found, rounded] = [Way { to: Some("bf16"), ..way }, way].map(|way| run(case, &inputs, way).expect("launches").written);
                let plain = run(case, &wide, way).expect("launches").written;
                let (Data::Bf16(found), Data::F32(rounded), Data::F32(plain)) = (&found[0].1, &rounded[0].1, &plain[0].1) else {
                    panic!("y")
                };
                let valid = (0..found.len()).filter(|i| i / 150 < 23);
                for i in valid {
                    assert_eq!(rounded[i].to_bits(), plain[i].to_bits(), "{} {i}", case.label);
                    assert_eq!(found[i], half::bf16::from_f32(plain[i]).to_bits(), "{} {i}", case.label);
                }
            }
        }
    }
}

/// Blocks of the vocabulary after one another, for each way of the product.
pub fn linear_cross_entropy_blocks() {
    let of = |b: usize, l: usize, k: usize, m: usize, vocab: usize, compute: &str| {
        let dims = json!({ "b": b, "l": l, "k": k, "m": m });
        json!({ "dims": dims, "attrs": { "compute": compute, "vocab": vocab } })
    };
    let mut specs = vec![of(1, 1, 64, 3000, 2999, "f32"), of(3, 3, 7, 500, 0, "bf16")];
    for compute in ["f32", "bf16"] {
        specs.push(of(2, 40, 33, 300, 257, compute));
    }
    specs
        .push(json!({ "dims": { "b": 3, "l": 45, "k": 8, "m": 2101 }, "attrs": { "compute": "bf16", "vocab": 2100 }, "lens": [45, 0, 7] }));
    check_cases(&stored("linear_cross_entropy", &specs), 1);
}

/// A target outside of the vocabulary is reported, unless its row is over, and gives NaN.
pub fn linear_cross_entropy_reports_a_bad_target() {
    let spec = json!({ "dims": { "b": 2, "l": 2, "k": 8, "m": 40 }, "attrs": { "vocab": 33 }, "lens": [2, 1] });
    let case = own_case("linear_cross_entropy", &spec);
    for (targets, fault) in [([0, 32, 1, 33], None), ([0, 33, 1, 0], Some(33)), ([0, 1, -4, 0], Some(-4))] {
        let mut inputs = case.inputs(0);
        inputs[2].as_mut().expect("targets").data = Data::I32(targets.to_vec());
        let ran = run(&case, &inputs, Way::default()).expect("launches");
        assert_eq!(ran.fault, fault, "of {targets:?}");
        let Data::F32(nll) = &ran.written[0].1 else { panic!("nll are floats") };
        // The row that is over was NaN before.
        let is_number = [0, 1, 2, 3].map(|row| row != 3 && (0..33).contains(&targets[row]));
        assert_eq!([0, 1, 2, 3].map(|row| !nll[row].is_nan()), is_number, "of {targets:?}");
    }
}
