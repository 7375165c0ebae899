//! The checks of [`statespace_ops::cases::parity`] on this CPU.
//!
//! The binary carries all it needs, so that it can be copied to another machine and run there (`parity --nocapture` names the instruction
//! sets that ran).

use statespace_ops::cases::parity::{Property, checks};
use statespace_simd::Level;

fn all(property: Property) {
    let checks: Vec<_> = checks().into_iter().filter(|check| check.property == property).collect();
    assert!(!checks.is_empty());
    let failed: Vec<String> = checks.iter().filter_map(|check| check.run().err()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn agrees_with_the_reference() {
    println!("instruction sets: {:?}", Level::available().iter().map(|level| level.name()).collect::<Vec<_>>());
    all(Property::Agrees);
}

#[test]
fn parts_do_not_change_a_bit() {
    all(Property::Parts);
}

#[test]
fn in_place_is_out_of_place() {
    all(Property::InPlace);
}

#[test]
fn frozen_rows_keep_their_state() {
    all(Property::Frozen);
}
