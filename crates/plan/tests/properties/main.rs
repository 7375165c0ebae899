//! Random valid plans pass; one change to them is refused, or a simulation that knows nothing of the validator finds it harmless;
//! garbage never panics.

mod mutate;
mod planner;
mod simulator;

use mutate::mutate;
use planner::{Tape, plan};
use proptest::prelude::*;
use serde_json::Value;
use simulator::simulate;
use statespace_plan::{check, print, read};
use std::sync::LazyLock;

static TABLE: LazyLock<Value> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/ops.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
});

fn tape() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(any::<u32>(), 0..160)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_plans_are_valid(choices in tape()) {
        let plan = plan(&mut Tape(&choices, 0));
        let text = plan.to_string();
        prop_assert_eq!(check(&text).err(), None);
        prop_assert_eq!(simulate(&plan, &TABLE), Ok(()));
        prop_assert!(print(&read(&text).unwrap()).lines().count() >= 5);
    }

    #[test]
    fn text_with_noise_never_panics(choices in tape(), noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = plan(&mut Tape(&choices, 0)).to_string().into_bytes();
        for (at, byte) in noise {
            let i = at.index(bytes.len());
            match byte % 4 {
                0 => { bytes.remove(i); }
                1 => bytes.insert(i, byte),
                2 => bytes.truncate(i + 1),
                _ => bytes[i] = b"0123456789-.eE\",:[]{}nul"[byte as usize / 4 % 24],
            }
        }
        if let Ok(plan) = read(&String::from_utf8_lossy(&bytes)) {
            print(&plan);
        }
        let _ = check(&String::from_utf8_lossy(&bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_change_is_refused_or_harmless(choices in tape(), change in prop::collection::vec(any::<u32>(), 12)) {
        let mut plan = plan(&mut Tape(&choices, 0));
        let what = mutate(&mut plan, &mut Tape(&change, 0));
        if check(&plan.to_string()).is_ok() {
            prop_assert_eq!(simulate(&plan, &TABLE), Ok(()), "{} was let through", what);
        }
    }

    #[test]
    fn several_changes_never_panic(choices in tape(), changes in prop::collection::vec(any::<u32>(), 48)) {
        let mut plan = plan(&mut Tape(&choices, 0));
        let tape = &mut Tape(&changes, 0);
        let what: Vec<_> = (0..3).map(|_| mutate(&mut plan, tape)).collect();
        if check(&plan.to_string()).is_ok() {
            prop_assert_eq!(simulate(&plan, &TABLE), Ok(()), "{:?} were let through", what);
        }
    }
}
