//! Every op of the table on every instruction set that is there, against its f64 reference (feature `testing`), on all cases of
//! `spec/ops.json`. It stands in the library so that a module of WebAssembly can carry it; `tests/parity.rs` runs it here.

mod fast;
mod reference;

pub use reference::UNWRITTEN;

use statespace_simd::Level;

use super::{Case, Data, Tensor, cases, nmse};

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// Results are within the row's tolerance of the reference.
    Agrees,
    /// Any number of parts gives the same bits.
    Parts,
    /// An input that shares memory with an output gives the same bits.
    InPlace,
    /// State of rows without valid positions stays.
    Frozen,
}

/// One property of one case.
#[derive(Clone, Debug)]
pub struct Check {
    /// What is checked.
    pub property: Property,
    case: Case,
}

/// All checks; those that a case has nothing to do with are left out.
pub fn checks() -> Vec<Check> {
    use Property::{Agrees, Frozen, InPlace, Parts};
    let concerns = |property: &Property, case: &Case| match property {
        Agrees | Parts => true,
        InPlace => !case.inplace.is_empty(),
        Frozen => case.op != "sample" && case.lens().is_some(),
    };
    let all = |case: Case| {
        let properties = [Agrees, Parts, InPlace, Frozen].into_iter().filter(|property| concerns(property, &case)).collect::<Vec<_>>();
        properties.into_iter().map(move |property| Check { property, case: case.clone() })
    };
    cases().into_iter().flat_map(all).collect()
}

impl Check {
    /// Case and property.
    pub fn name(&self) -> String {
        let what = match self.property {
            Property::Agrees => "agrees with the reference",
            Property::Parts => "has the same bits in any number of parts",
            Property::InPlace => "has the same bits in place",
            Property::Frozen => "leaves the state of rows that are over",
        };
        format!("{} {what}", self.case.label)
    }

    /// Fails with what was found.
    pub fn run(&self) -> Result<(), String> {
        if self.property == Property::InPlace {
            return self.in_place();
        }
        for seed in seeds(&self.case) {
            let inputs = self.case.inputs(seed);
            let operands = Operands { case: &self.case, inputs: &inputs };
            for level in Level::available() {
                let found = match self.property {
                    Property::Agrees => agrees(operands, level),
                    Property::Parts => parts(operands, level),
                    _ => frozen(operands, level),
                };
                found.map_err(|found| format!("{} seed {seed} on {}: {found}", self.case.label, level.name()))?;
            }
        }
        Ok(())
    }

    fn in_place(&self) -> Result<(), String> {
        let mut inputs = self.case.inputs(1);
        // An operand that shares the output's memory is dense as it is.
        for tensor in inputs.iter_mut().flatten() {
            if self.case.inplace.iter().any(|(input, _)| *input == tensor.name) {
                *tensor = tensor.dense();
            }
        }
        let operands = Operands { case: &self.case, inputs: &inputs };
        for (input, _) in self.case.inplace.iter().filter(|(input, _)| operands.find(input).is_some()) {
            for (level, parts) in Level::available().into_iter().flat_map(|level| [(level, 1), (level, 3)]) {
                let apart = fast::run(operands, level, parts, None);
                let shared = fast::run(operands, level, parts, Some(input));
                same_bits(&apart, &shared)
                    .map_err(|name| format!("{} on {}: {name} with {input} in place", self.case.label, level.name()))?;
            }
        }
        Ok(())
    }
}

/// Inputs are drawn this often; `sample` has more settings than cases.
fn seeds(case: &Case) -> std::ops::Range<u64> {
    if case.op == "sample" { 0..96 } else { 0..3 }
}

fn agrees(operands: Operands, level: Level) -> Result<(), String> {
    let (wanted, got) = (reference::run(operands), fast::run(operands, level, 1, None));
    let names = |written: &[&'static str]| written.join(", ");
    let (wanted_names, got_names): (Vec<_>, Vec<_>) = (wanted.iter().map(|w| w.0).collect(), got.iter().map(|g| g.0).collect());
    if wanted_names != got_names {
        return Err(format!("wrote {} instead of {}", names(&got_names), names(&wanted_names)));
    }
    for ((name, got), (_, wanted)) in got.iter().zip(&wanted) {
        let error = nmse(&got.widened(), wanted);
        let tol = operands.case.tol(got.dtype());
        // Asked this way round, since an error that is NaN is one.
        let within = error <= tol;
        if !within {
            return Err(format!("{name} is off by {error:e} > {tol:e}"));
        }
    }
    Ok(())
}

fn parts(operands: Operands, level: Level) -> Result<(), String> {
    let whole = fast::run(operands, level, 1, None);
    [2, 7].into_iter().try_for_each(|parts| {
        same_bits(&whole, &fast::run(operands, level, parts, None)).map_err(|name| format!("{name} differs in {parts} parts"))
    })
}

fn frozen(operands: Operands, level: Level) -> Result<(), String> {
    let lens = operands.case.lens().unwrap_or_default();
    for (name, written) in fast::run(operands, level, 2, None) {
        let Some(before) = operands.find(name) else { continue };
        let (before, after) = (before.bytes(), written.bytes());
        let row = before.len() / lens.len();
        for b in (0..lens.len()).filter(|&b| lens[b] == 0) {
            if before[b * row..(b + 1) * row] != after[b * row..(b + 1) * row] {
                return Err(format!("{name} of row {b} changed"));
            }
        }
    }
    Ok(())
}

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

/// What the case's reference writes: outputs, then updated inputs, by name. What no valid row writes stays NaN (in integers: [`UNWRITTEN`]).
pub fn expected(case: &Case, inputs: &[Option<Tensor>]) -> Vec<(&'static str, Vec<f64>)> {
    reference::run(Operands { case, inputs })
}

/// A value that an op wrote: an output or an updated input.
type Written = Vec<(&'static str, Data)>;

/// Fails with the first name that differs.
fn same_bits(x: &Written, y: &Written) -> Result<(), &'static str> {
    x.iter().zip(y).try_for_each(|(x, y)| if x.1.bytes() == y.1.bytes() { Ok(()) } else { Err(x.0) })
}
