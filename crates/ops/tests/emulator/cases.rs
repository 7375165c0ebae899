//! Cases beside the op table's, for what a GPU does in other ways than a CPU.

use serde_json::{Value, json};
use statespace_ops::cases::{Case, own_case};

use crate::parity::check_cases;

fn cases(op: &str, specs: &[Value]) -> Vec<Case> {
    specs.iter().map(|spec| own_case(op, spec)).collect()
}

/// Every number of states that has a kernel, in one walk, in chunks and step by step; chunks that `lens` cuts or leaves out.
pub fn scan_chunks_and_states() {
    let states = [8, 16, 32, 64, 128].map(|n| json!({ "dims": { "b": 1, "l": 35, "e": 70, "n": n }, "attrs": { "groups": 2 } }));
    let chunks = [8, 16, 31, 64, 128].map(|n| json!({ "dims": { "b": 1, "l": 200, "e": 33, "n": n } }));
    let others = [
        json!({ "dims": { "b": 3, "l": 333, "e": 40, "n": 5 }, "lens": [333, 70, 0], "without": ["z"], "ranges": { "dt": [-8, -4] } }),
        json!({ "dims": { "b": 2, "l": 200, "e": 12, "n": 8 }, "lens": [128, 129], "ranges": { "dt": [-25, 30] } }),
        json!({ "dims": { "b": 2, "l": 3, "e": 34, "n": 1000 }, "lens": [2, 3] }),
        json!({ "dims": { "b": 2, "l": 1, "e": 34, "n": 130 }, "lens": [0, 1], "without": ["D"] }),
        json!({ "dims": { "b": 9, "l": 1, "e": 96, "n": 16 }, "attrs": { "groups": 3 } }),
        json!({
            "dims": { "b": 1, "l": 20, "e": 9, "n": 4 },
            "attrs": { "softplus": false },
            "ranges": { "dt": [0, 0.2], "A": [-900, 3] },
            "without": ["dt_bias"]
        }),
    ];
    check_cases(&cases("scan", &[&states[..], &chunks, &others].concat()), 1);
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
        let (dims, attrs) = (json!({ "b": 12, "v": 50280, "k": 2 }), json!({ "vocab": 50277, "steps": 2 }));
        json!({ "dims": dims, "attrs": attrs, "ranges": { "logits": [-range, range] } })
    };
    check_cases(&cases("sample", &[spread(20.0), spread(1.0)]), 1);
}

/// Equal scores, in tens and all of them.
pub fn sample_ties() {
    let of =
        |v: usize, high: f64| json!({ "dims": { "b": 12, "v": v, "k": 2 }, "attrs": { "steps": 3 }, "ranges": { "logits": [1.0, high] } });
    check_cases(&cases("sample", &[of(300, 1.0), of(3000, 1.0), of(1500, 1.000002), of(6000, 1.00002)]), 1);
}
