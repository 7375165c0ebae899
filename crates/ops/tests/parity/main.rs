//! Every op of the table, on every instruction set that this CPU has, against its f64 reference: on all cases of `spec/ops.json`.
//!
//! The binary carries all it needs, so that it can be copied to another machine and run there (`parity --nocapture` names the instruction
//! sets that ran).

mod fast;
mod reference;

use statespace_ops::cases::{Case, Data, Tensor, cases, nmse};
use statespace_simd::Level;

/// Operands of a case by name.
#[derive(Clone, Copy)]
struct Operands<'a> {
    case: &'a Case,
    inputs: &'a [Option<Tensor>],
}

impl<'a> Operands<'a> {
    fn find(self, name: &str) -> Option<&'a Tensor> {
        self.inputs.iter().flatten().find(|tensor| tensor.name == name)
    }

    fn get(self, name: &str) -> &'a Tensor {
        self.find(name).unwrap_or_else(|| panic!("{} has no {name}", self.case.label))
    }
}

/// A value that an op wrote: an output or an updated input.
type Written = Vec<(&'static str, Data)>;

/// Inputs are drawn this often; `sample` has more settings than cases.
fn seeds(case: &Case) -> std::ops::Range<u64> {
    if case.op == "sample" { 0..96 } else { 0..3 }
}

fn each(check: impl Fn(Operands, u64)) {
    for case in cases() {
        for seed in seeds(&case) {
            let inputs = case.inputs(seed);
            check(Operands { case: &case, inputs: &inputs }, seed);
        }
    }
}

fn same_bits(x: &Written, y: &Written) -> bool {
    x.iter().zip(y).all(|(x, y)| x.1.bytes() == y.1.bytes())
}

#[test]
fn agrees_with_the_reference() {
    println!("instruction sets: {:?}", Level::available().iter().map(|level| level.name()).collect::<Vec<_>>());
    each(|operands, seed| {
        let wanted = reference::run(operands);
        for level in Level::available() {
            let got = fast::run(operands, level, 1, None);
            assert_eq!(got.len(), wanted.len());
            for ((name, got), (wanted_name, wanted)) in got.iter().zip(&wanted) {
                assert_eq!(name, wanted_name);
                let error = nmse(&got.widened(), wanted);
                let tol = if matches!(got, Data::F32(_)) { operands.case.tol } else { 0.0 };
                assert!(error <= tol, "{} seed {seed}: {name} on {} is off by {error:e} > {tol:e}", operands.case.label, level.name());
            }
        }
    });
}

#[test]
fn parts_do_not_change_a_bit() {
    each(|operands, seed| {
        for level in Level::available() {
            let whole = fast::run(operands, level, 1, None);
            for parts in [2, 7] {
                let split = fast::run(operands, level, parts, None);
                assert!(same_bits(&whole, &split), "{} seed {seed} on {} in {parts} parts", operands.case.label, level.name());
            }
        }
    });
}

#[test]
fn in_place_is_out_of_place() {
    let mut pairs = std::collections::BTreeSet::new();
    for case in cases() {
        let mut inputs = case.inputs(1);
        // An operand that shares the output's memory is dense as it is.
        for tensor in inputs.iter_mut().flatten() {
            if case.inplace.iter().any(|(input, _)| *input == tensor.name) {
                *tensor = dense(tensor);
            }
        }
        let operands = Operands { case: &case, inputs: &inputs };
        for (input, _) in case.inplace.iter().filter(|(input, _)| operands.find(input).is_some()) {
            pairs.insert(format!("{}.{input}", case.op));
            for level in Level::available() {
                for parts in [1, 3] {
                    let apart = fast::run(operands, level, parts, None);
                    let shared = fast::run(operands, level, parts, Some(input));
                    assert!(same_bits(&apart, &shared), "{}: {input} in place on {}", case.label, level.name());
                }
            }
        }
    }
    println!("in place: {pairs:?}");
}

fn dense(tensor: &Tensor) -> Tensor {
    let rows = tensor.f32().chunks(tensor.ld).flat_map(|row| &row[..tensor.width()]).copied().collect();
    Tensor { ld: tensor.width(), data: Data::F32(rows), ..tensor.clone() }
}

#[test]
fn frozen_rows_keep_their_state() {
    each(|operands, seed| {
        let Some(lens) = operands.case.lens().filter(|_| operands.case.op != "sample") else { return };
        for level in Level::available() {
            for (name, written) in fast::run(operands, level, 2, None) {
                let Some(before) = operands.find(name) else { continue };
                let (before, after) = (before.bytes(), written.bytes());
                let row = before.len() / lens.len();
                for b in (0..lens.len()).filter(|&b| lens[b] == 0) {
                    let range = b * row..(b + 1) * row;
                    assert_eq!(before[range.clone()], after[range], "{} seed {seed}: {name} of row {b}", operands.case.label);
                }
            }
        }
    });
}
