//! Runs a case's reference: what was written, as f64.

use crate::*;
use statespace_plan::DType;
use statespace_plan::ops::{Compute, To};

use super::Operands;

/// Outputs, then updated inputs. What no valid row writes stays NaN (in integers: [`UNWRITTEN`]).
pub fn run(operands: Operands) -> Vec<(&'static str, Vec<f64>)> {
    let Operands { case, .. } = operands;
    let values = |name: &str| operands.get(name).widened();
    let optional = |name: &str| operands.find(name).map(|tensor| (tensor.widened(), tensor.ld));
    let lens = operands.find("lens").map(|lens| lens.i32());
    let dim = |name: &str| case.dim(name);
    let rows = || Rows { b: dim("b"), l: dim("l"), lens };
    let sizes: Vec<usize> = case.outputs().iter().map(|output| output.shape.iter().product()).collect();
    let mut y = sizes.first().map_or(vec![], |&size| vec![f64::NAN; size]);

    match case.op.as_str() {
        "embed" => embed::reference(rows(), dim("d"), operands.get("tokens").i32(), &values("weight"), &mut y),
        "rmsnorm" => {
            let (x, ld) = optional("x").expect("x");
            let eps = case.attrs["eps"].as_f64().expect("eps");
            rmsnorm::reference(rows(), dim("d"), Mat { data: &x, ld }, optional("weight").as_ref().map(|w| &w.0[..]), eps, &mut y);
        }
        "linear" | "linear_cross_entropy" => products(operands, rows(), &mut y),
        "conv1d_silu" => {
            let (x, ld) = optional("x").expect("x");
            let mut state = values("state");
            let (weight, bias) = (values("weight"), optional("bias"));
            let bias = bias.as_ref().map(|b| &b.0[..]);
            conv1d_silu::reference(rows(), dim("e"), dim("w"), Mat { data: &x, ld }, &weight, bias, &mut state, &mut y);
            return vec![("y", y), ("state", state)];
        }
        "scan" => {
            let names = ["u", "dt", "A", "B", "C", "D", "z", "dt_bias"].map(optional);
            let mat = |i: usize| names[i].as_ref().map(|(data, ld)| Mat { data: &data[..], ld: *ld });
            let op = scan::Reference {
                rows: rows(),
                e: dim("e"),
                n: dim("n"),
                groups: dim("groups"),
                softplus: case.attrs["softplus"].as_bool().expect("softplus"),
                u: mat(0).expect("u"),
                dt: mat(1).expect("dt"),
                a: mat(2).expect("A").data,
                b: mat(3).expect("B"),
                c: mat(4).expect("C"),
                d: mat(5).map(|d| d.data),
                z: mat(6),
                dt_bias: mat(7).map(|bias| bias.data),
            };
            let mut state = values("state");
            scan::reference(&op, &mut state, &mut y);
            return vec![("y", y), ("state", state)];
        }
        "add" => add::reference(rows(), dim("d"), &values("a"), &values("c"), &mut y),
        "cast" => {
            let (x, ld) = optional("x").expect("x");
            let to = To::ALL.iter().find(|to| case.attrs["to"] == to.name()).expect("to");
            cast::reference(rows(), dim("d"), Mat { data: &x, ld }, *to, &mut y);
        }
        "transpose" => transpose::reference(dim("b"), dim("l"), dim("d"), &values("x"), &mut y),
        "softplus" => {
            let (x, ld) = optional("x").expect("x");
            softplus::reference(rows(), dim("d"), Mat { data: &x, ld }, &mut y);
        }
        "sum_rows" => {
            let mut acc = values("acc");
            sum_rows::reference(rows(), dim("d"), &values("x"), &mut acc);
            return vec![("acc", acc)];
        }
        "sample" => return sample(operands, sizes[0]),
        other => panic!("no reference of {other} here"),
    }
    vec![(if case.op == "linear_cross_entropy" { "nll" } else { "y" }, y)]
}

fn products(operands: Operands, rows: Rows, y: &mut [f64]) {
    let Operands { case, .. } = operands;
    let values = |name: &str| operands.find(name).map(|tensor| tensor.widened());
    let (x, weight, bias, residual) = (values("x").expect("x"), values("weight").expect("weight"), values("bias"), values("residual"));
    let dtype = DType::from_name(operands.get("weight").dtype()).expect("a dtype");
    let (k, m, compute) = (case.dim("k"), case.dim("m"), compute(operands));
    let x = Mat { data: &x[..], ld: operands.get("x").ld };
    if case.op == "linear" {
        let (bias, residual) = (bias.as_deref(), residual.as_deref());
        linear::reference(&linear::Reference { rows, k, m, compute, x, weight: &weight, dtype, bias, residual }, y);
    } else {
        let targets = operands.get("targets").i32();
        let op = linear_cross_entropy::Reference { rows, k, vocab: vocab(operands), compute, x, weight: &weight, dtype, targets };
        linear_cross_entropy::reference(&op, y);
    }
}

/// The attribute `compute`.
pub fn compute(operands: Operands) -> Compute {
    *Compute::ALL.iter().find(|compute| operands.case.attrs["compute"] == compute.name()).expect("compute")
}

/// The attribute `vocab` of a head, or all its rows.
pub fn vocab(operands: Operands) -> usize {
    match operands.case.dim("vocab") {
        0 => operands.case.dim("m"),
        vocab => vocab,
    }
}

fn sample(operands: Operands, slots: usize) -> Vec<(&'static str, Vec<f64>)> {
    use crate::cases::Data;
    let Operands { case, .. } = operands;
    let (logits, sampler) = (operands.get("logits").widened(), operands.get("sampler").widened());
    let (mut tokens, mut lens) = (operands.get("tokens").i32().to_vec(), operands.get("lens").i32().to_vec());
    let (Data::U32(rng), Data::U8(seen)) = (&operands.get("rng").data, &operands.get("seen").data) else { panic!("types of sample") };
    let (mut rng, mut seen) = (rng.clone(), seen.clone());
    let (mut token, mut logprob) = (vec![UNWRITTEN; slots], vec![f64::NAN; slots]);
    let steps = case.dim("steps");
    for step in 0..steps {
        let op = sample::Reference {
            b: case.dim("b"),
            v: case.dim("v"),
            vocab: case.dim("vocab"),
            steps,
            step,
            logits: &logits,
            sampler: &sampler,
            eos: operands.get("eos").i32(),
        };
        let state = sample::State { tokens: &mut tokens, lens: &mut lens, rng: &mut rng, seen: &mut seen };
        sample::reference(&op, state, &mut token, &mut logprob);
    }
    let all = [
        ("token", Data::I32(token)),
        ("tokens", Data::I32(tokens)),
        ("lens", Data::I32(lens)),
        ("rng", Data::U32(rng)),
        ("seen", Data::U8(seen)),
    ];
    let mut written: Vec<_> = all.into_iter().map(|(name, data)| (name, data.widened())).collect();
    written.insert(1, ("logprob", logprob));
    written
}

/// In place of an integer output that nobody wrote.
pub const UNWRITTEN: i32 = -77;
