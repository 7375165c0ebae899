//! Whatever the mode, the number of threads or the executor, a plan computes the same: bit for bit, or as close as f32 comes to f64.

mod kit;
#[path = "../../plan/tests/properties/planner.rs"]
mod planner;

use kit::build::{Sizes, block};
use kit::case::{Case, Outcome, differs, values};
use planner::{Tape, plan};
use proptest::prelude::*;
use serde_json::Value;
use statespace_engine::info;

/// A few operations in a row on f32; every op of the table is within 1e-10.
const BOUND: f64 = 1e-9;

const BASE: &str = r#"{"dump":true,"threads":1}"#;

fn modes_agree(case: &Case) -> Result<Outcome, TestCaseError> {
    let base = case.run(BASE);
    for mode in [r#""memory":"flat""#, r#""guard":true"#, r#""memory":"flat","guard":true"#, r#""memory":"planned""#] {
        let other = case.run(&format!(r#"{{"dump":true,"threads":2,{mode}}}"#));
        prop_assert!(base == other, "{}: {:?}", mode, differs(&other, &base, 0.0));
    }
    Ok(base)
}

fn golden() -> Vec<(String, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../test/golden/plans");
    let paths = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let read =
        |path: std::path::PathBuf| (path.display().to_string(), serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap());
    paths.filter(|path| path.extension().is_some_and(|e| e == "json")).map(read).collect()
}

#[test]
fn golden_plans() {
    for (name, plan) in golden() {
        let case = Case::new(plan, 7, 20);
        let base = modes_agree(&case).unwrap_or_else(|error| panic!("{name}: {error}"));
        let reference = case.run(r#"{"dump":true,"executor":"reference"}"#);
        assert_eq!(differs(&base, &reference, BOUND), None, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_plans(choices in prop::collection::vec(any::<u32>(), 0..160), seed in any::<u64>()) {
        let case = Case::new(plan(&mut Tape(&choices, 0)), seed, 11);
        let base = modes_agree(&case)?;
        let reference = case.run(r#"{"dump":true,"executor":"reference"}"#);
        // Values of a chain of scans grow as powers do; where squares leave the range of f32, so does the comparison.
        let largest = reference.values().flat_map(|(dtype, bytes)| values(*dtype, bytes)).fold(0.0, |a: f64, b| a.max(b.abs()));
        prop_assume!(largest < 1e12);
        prop_assert_eq!(differs(&base, &reference, BOUND), None);
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    for (b, l, compute) in [(1, 1, "f32"), (3, 37, "f32"), (2, 21, "bf16"), (9, 1, "bf16")] {
        let case = Case::new(block(&Sizes { b, l, d: 96, e: 200, n: 16, v: 333, compute }), 3, 332);
        for isa in info().isas {
            let run = |threads: usize| case.run(&format!(r#"{{"dump":true,"threads":{threads},"isa":"{isa}"}}"#));
            let one = run(1);
            for threads in [2, 7] {
                let many = run(threads);
                assert!(one == many, "{isa}, {threads} threads: {:?}", differs(&many, &one, 0.0));
            }
            // Rounding to bf16 may fall to the other side where f32 and f64 differ.
            let bound = if compute == "bf16" { 1e-4 } else { BOUND };
            assert_eq!(differs(&one, &case.run(r#"{"dump":true,"executor":"reference"}"#), bound), None, "{isa} {compute}");
        }
    }
}
