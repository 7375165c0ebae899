//! Runs a case's kernel, part after part.

use crate::cases::{Data, Tensor};
use crate::*;
use half::{bf16, f16};
use statespace_plan::DType;
use statespace_simd::{Level, SharedOut};

use super::reference::{UNWRITTEN, compute, vocab};
use super::{Operands, Written};

/// Outputs, then updated inputs. `shared` names an input that lies in the output.
pub fn run(operands: Operands, level: Level, parts: usize, shared: Option<&str>) -> Written {
    let Operands { case, .. } = operands;
    let optional = |name: &str| operands.find(name).map(|tensor| Mat { data: tensor.f32(), ld: tensor.ld });
    let mat = |name: &str| optional(name).unwrap_or_else(|| panic!("{} has no {name}", case.label));
    let input = |name: &str| if shared == Some(name) { Input::InPlace } else { Input::Apart(mat(name)) };
    let lens = operands.find("lens").map(|lens| lens.i32());
    let dim = |name: &str| case.dim(name);
    let rows = || Rows { b: dim("b"), l: dim("l"), lens };
    let size = case.outputs().first().map_or(0, |output| output.shape.iter().product());
    let mut y = shared.filter(|_| case.op != "scan").map_or(vec![f32::NAN; size], |name| mat(name).data.to_vec());
    let parts = (0..parts).map(|part| (part, parts));

    match case.op.as_str() {
        "embed" => {
            let weight = operands.get("weight");
            // One byte further than allocations begin: checkpoints promise no alignment.
            let bytes = [vec![0], weight.bytes()].concat();
            let op = embed::Embed { rows: rows(), d: dim("d"), tokens: operands.get("tokens").i32(), weight: stored(weight, &bytes[1..]) };
            parts.for_each(|(part, parts)| op.run(level, part, parts, SharedOut::new(&mut y)));
        }
        "rmsnorm" => {
            let eps = case.attrs["eps"].as_f64().expect("eps") as f32;
            let op = rmsnorm::Rmsnorm { rows: rows(), d: dim("d"), x: input("x"), weight: optional("weight").map(|w| w.data), eps };
            parts.for_each(|(part, parts)| op.run(level, part, parts, SharedOut::new(&mut y)));
        }
        "linear" => {
            let (weight, k, compute) = (operands.get("weight"), dim("k"), compute(operands));
            let bytes = [vec![0], weight.bytes()].concat();
            let residual = operands.find("residual").map(|_| input("residual"));
            let (weight, bias) = (stored(weight, &bytes[1..]), optional("bias").map(|bias| bias.data));
            let op = linear::Linear { rows: rows(), k, m: dim("m"), compute, x: mat("x"), weight, bias, residual };
            let mut scratch = vec![f32::NAN; linear::Linear::scratch_floats(op.rows.count(), k, compute)];
            parts.for_each(|(part, parts)| op.run(level, part, parts, SharedOut::new(&mut y), &mut scratch));
        }
        "linear_cross_entropy" => {
            let (weight, k, compute, targets) = (operands.get("weight"), dim("k"), compute(operands), operands.get("targets").i32());
            let bytes = [vec![0], weight.bytes()].concat();
            let (weight, vocab, x) = (stored(weight, &bytes[1..]), vocab(operands), mat("x"));
            let op = linear_cross_entropy::LinearCrossEntropy { rows: rows(), k, vocab, compute, x, weight, targets };
            let mut scratch = vec![f32::NAN; linear_cross_entropy::LinearCrossEntropy::scratch_floats(op.rows.count(), k, compute)];
            let mut board = vec![f32::NAN; linear_cross_entropy::LinearCrossEntropy::board_floats(op.rows.count(), vocab)];
            let every = parts.clone();
            parts.for_each(|(part, parts)| {
                op.run(level, part, parts, SharedOut::new(&mut board), SharedOut::new(&mut y), &mut scratch);
            });
            every.for_each(|(part, parts)| op.finish(part, parts, SharedOut::new(&mut board), SharedOut::new(&mut y)));
            return vec![("nll", Data::F32(y))];
        }
        "conv1d_silu" => {
            let mut state = mat("state").data.to_vec();
            let (weight, bias) = (mat("weight").data, optional("bias").map(|b| b.data));
            let op = conv1d_silu::Conv1dSilu { rows: rows(), e: dim("e"), w: dim("w"), x: mat("x"), weight, bias };
            parts.for_each(|(part, parts)| op.run(level, part, parts, SharedOut::new(&mut state), SharedOut::new(&mut y)));
            return vec![("y", Data::F32(y)), ("state", Data::F32(state))];
        }
        "scan" => {
            let rows_of = |name: &str| operands.find(name).map(|tensor| activations(tensor, shared == Some(name)));
            let op = scan::Scan {
                rows: rows(),
                e: dim("e"),
                n: dim("n"),
                groups: dim("groups"),
                softplus: case.attrs["softplus"].as_bool().expect("softplus"),
                u: rows_of("u").expect("u"),
                dt: rows_of("dt").expect("dt"),
                a: mat("A").data,
                b: rows_of("B").expect("B"),
                c: rows_of("C").expect("C"),
                d: optional("D").map(|d| d.data),
                z: rows_of("z"),
                dt_bias: optional("dt_bias").map(|bias| bias.data),
            };
            let mut state = mat("state").data.to_vec();
            let mut y = shared.map_or_else(|| unwritten(&case.dtype, size), |name| operands.get(name).data.clone());
            parts.for_each(|(part, parts)| {
                let mut scratch = vec![f32::NAN; scan::scratch(op.n)];
                let y = match &mut y {
                    Data::Bf16(y) => StoredOut::Bf16(SharedOut::new(y)),
                    Data::F16(y) => StoredOut::F16(SharedOut::new(y)),
                    Data::F32(y) => StoredOut::F32(SharedOut::new(y)),
                    _ => panic!("y are floats"),
                };
                op.run(level, part, parts, SharedOut::new(&mut state), y, &mut scratch);
            });
            return vec![("y", y), ("state", Data::F32(state))];
        }
        "add" => {
            let op = add::Add { rows: rows(), d: dim("d"), a: input("a"), c: input("c") };
            parts.for_each(|(part, parts)| op.run(level, part, parts, SharedOut::new(&mut y)));
        }
        "cast" => {
            let (x, bytes) = (operands.get("x"), operands.get("x").bytes());
            let op = cast::Cast { rows: rows(), d: dim("d"), x: stored(x, &bytes), ld: x.ld };
            let mut half = vec![0x7FFFu16; size];
            let to = case.attrs["to"].as_str().expect("to");
            parts.for_each(|(part, parts)| {
                let out = match to {
                    "f32" => StoredOut::F32(SharedOut::new(&mut y)),
                    "bf16" => StoredOut::Bf16(SharedOut::new(&mut half)),
                    _ => StoredOut::F16(SharedOut::new(&mut half)),
                };
                op.run(level, part, parts, out);
            });
            match to {
                "f32" => {}
                "bf16" => return vec![("y", Data::Bf16(half))],
                _ => return vec![("y", Data::F16(half))],
            }
        }
        "transpose" => {
            let op = transpose::Transpose { b: dim("b"), l: dim("l"), d: dim("d"), x: mat("x").data };
            parts.for_each(|(part, parts)| op.run(part, parts, SharedOut::new(&mut y)));
        }
        "softplus" => {
            let op = softplus::Softplus { rows: rows(), d: dim("d"), x: input("x") };
            parts.for_each(|(part, parts)| op.run(level, part, parts, SharedOut::new(&mut y)));
        }
        "sum_rows" => {
            let mut acc = mat("acc").data.to_vec();
            let op = sum_rows::SumRows { rows: rows(), d: dim("d"), x: mat("x").data };
            parts.for_each(|(part, parts)| op.run(level, part, parts, SharedOut::new(&mut acc)));
            return vec![("acc", Data::F32(acc))];
        }
        "sample" => return sample(operands, level, parts.len(), size),
        other => panic!("no kernel of {other} here"),
    }
    vec![("y", Data::F32(y))]
}

fn activations(tensor: &Tensor, in_place: bool) -> StoredInput<'_> {
    fn input<T>(data: &[T], ld: usize, in_place: bool) -> Input<'_, T> {
        if in_place { Input::InPlace } else { Input::Apart(Mat { data, ld }) }
    }
    match &tensor.data {
        Data::Bf16(data) => StoredInput::Bf16(input(data, tensor.ld, in_place)),
        Data::F16(data) => StoredInput::F16(input(data, tensor.ld, in_place)),
        _ => StoredInput::F32(input(tensor.f32(), tensor.ld, in_place)),
    }
}

/// NaN, the one that rows without values are filled with.
fn unwritten(dtype: &str, size: usize) -> Data {
    match dtype {
        "bf16" => Data::Bf16(vec![bf16::NAN.to_bits(); size]),
        "f16" => Data::F16(vec![f16::NAN.to_bits(); size]),
        _ => Data::F32(vec![f32::NAN; size]),
    }
}

fn stored<'a>(tensor: &Tensor, bytes: &'a [u8]) -> Stored<'a> {
    Stored::new(DType::from_name(tensor.dtype()).expect("a dtype"), bytes).expect("floats")
}

fn sample(operands: Operands, level: Level, parts: usize, slots: usize) -> Written {
    let Operands { case, .. } = operands;
    let (mut tokens, mut lens) = (operands.get("tokens").i32().to_vec(), operands.get("lens").i32().to_vec());
    let (Data::U32(rng), Data::U8(seen)) = (&operands.get("rng").data, &operands.get("seen").data) else { panic!("types of sample") };
    let (mut rng, mut seen) = (rng.clone(), seen.clone());
    let (mut token, mut logprob) = (vec![UNWRITTEN; slots], vec![f32::NAN; slots]);
    let steps = case.dim("steps");
    for step in 0..steps {
        let op = sample::Sample {
            b: case.dim("b"),
            v: case.dim("v"),
            vocab: case.dim("vocab"),
            steps,
            step,
            logits: operands.get("logits").f32(),
            sampler: operands.get("sampler").f32(),
            eos: operands.get("eos").i32(),
        };
        for part in 0..parts {
            let out = sample::Outputs {
                tokens: SharedOut::new(&mut tokens),
                lens: SharedOut::new(&mut lens),
                rng: SharedOut::new(&mut rng),
                seen: SharedOut::new(&mut seen),
                token: SharedOut::new(&mut token),
                logprob: SharedOut::new(&mut logprob),
            };
            op.run(level, part, parts, out, &mut vec![f32::NAN; sample::scratch(op.v)]);
        }
    }
    vec![
        ("token", Data::I32(token)),
        ("logprob", Data::F32(logprob)),
        ("tokens", Data::I32(tokens)),
        ("lens", Data::I32(lens)),
        ("rng", Data::U32(rng)),
        ("seen", Data::U8(seen)),
    ]
}
