//! Values for a case's operands.

use half::{bf16, f16};
use serde_json::Value;

use super::{Case, Data, Tensor, list, text};
use crate::philox::{philox4x32, uniform};

/// A stream of uniform numbers.
struct Random {
    key: [u32; 2],
    count: u64,
}

impl Random {
    fn next(&mut self) -> f64 {
        self.count += 1;
        uniform(philox4x32(self.key, [self.count as u32, (self.count >> 32) as u32, 0, 0]))
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() * limit as f64) as u64
    }
}

/// Sampler rows that between them switch every step on and off.
const SAMPLERS: [[f32; 8]; 12] = [
    [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0],
    [1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0],
    [0.7, 5.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0],
    [1.3, 0.0, 0.6, 0.0, 1.0, 1.0, 0.0, 0.0],
    [0.2, 0.0, 1.0, 0.1, 1.0, 1.0, 0.0, 0.0],
    [0.9, 50.0, 0.95, 0.02, 1.3, 1.0, 0.0, 0.0],
    [1.0, 0.0, 1.0, 0.0, 2.5, 0.0, 0.0, 0.0],
    [0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0],
    [2.0, 3.0, 0.5, 0.5, 0.8, 1.0, 9e15, 0.0],
    [1.0, 1e9, 0.999, 0.0, 1.0, 1.0, 0.0, 0.0],
    [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 9e15, 0.0],
    [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0],
];

pub(super) fn tensor(case: &Case, input: &Value, name: String, seed: u64) -> Tensor {
    let mut random = Random { key: [seed as u32, (seed >> 32) as u32], count: 0 };
    let shape = case.shape(&input["shape"]);
    let width = shape.last().copied().unwrap_or(1);
    let rows: usize = shape[..shape.len() - 1].iter().product();
    let ld = case.spec.get("ld").and_then(|ld| ld.get(&name)).map_or(width, |ld| ld.as_u64().expect("a pitch") as usize);
    let size = rows * width;
    let dtypes: Vec<String> = list(&input["dtypes"]).iter().map(text).collect();
    let dtype = if dtypes.len() > 1 { case.dtype.as_str() } else { dtypes[0].as_str() };

    let data = match dtype {
        "i32" => Data::I32(integers(case, &name, size, &mut random)),
        "u32" => Data::U32((0..size).map(|_| random.below(1 << 32) as u32).collect()),
        "u8" => Data::U8(seen(case, rows, width, &mut random)),
        _ => {
            let values = floats(case, &name, &shape, ld, seed, &mut random);
            match dtype {
                "f32" => Data::F32(values),
                "bf16" => Data::Bf16(values.iter().map(|&v| bf16::from_f32(v).to_bits()).collect()),
                "f16" => Data::F16(values.iter().map(|&v| f16::from_f32(v).to_bits()).collect()),
                other => panic!("{}: {name} is {other}", case.label),
            }
        }
    };
    Tensor { name, shape, ld, data }
}

fn floats(case: &Case, name: &str, shape: &[usize], ld: usize, seed: u64, random: &mut Random) -> Vec<f32> {
    if name == "sampler" {
        return (0..shape[0]).flat_map(|row| SAMPLERS[(seed as usize + row) % SAMPLERS.len()]).collect();
    }
    let [low, high] = range(case, name);
    let width = shape[shape.len() - 1];
    let rows: usize = shape[..shape.len() - 1].iter().product();
    // A (b, l, ·) operand has activation rows; those at positions ≥ lens are not to be read.
    let lens =
        case.lens().filter(|_| shape.len() == 3 && case.symbols.contains_key("l") && !case.updates.iter().any(|update| update == name));
    let mut values = vec![f32::NAN; rows * ld];
    for r in 0..rows {
        let l = case.symbols.get("l").map_or(1, |&l| l as usize);
        if lens.as_ref().is_some_and(|lens| r % l >= lens[r / l] as usize) {
            continue;
        }
        for value in &mut values[r * ld..][..width] {
            *value = (low + (high - low) * random.next()) as f32;
        }
    }
    values
}

fn range(case: &Case, name: &str) -> [f64; 2] {
    let of = |from: &Value| from.get("ranges").and_then(|ranges| ranges.get(name)).cloned();
    let default = if name == "logits" { [-8.0, 8.0] } else { [-1.0, 1.0] };
    of(&case.spec).or_else(|| of(&case.row)).map_or(default, |pair| [0, 1].map(|i| pair[i].as_f64().expect("a bound")))
}

fn integers(case: &Case, name: &str, size: usize, random: &mut Random) -> Vec<i32> {
    let vocab = case.symbols.get("vocab").copied().filter(|&vocab| vocab > 0);
    let ids = vocab.or(case.symbols.get("v").copied()).or(case.symbols.get("m").copied()).unwrap_or(1) as usize;
    match name {
        "lens" => case.lens().unwrap_or_else(|| vec![1; size]),
        // The last eos entry is padding when there are several.
        "eos" => (0..size).map(|i| if i > 0 && i + 1 == size { -1 } else { random.below(ids as u64) as i32 }).collect(),
        _ => (0..size).map(|_| random.below(ids as u64) as i32).collect(),
    }
}

fn seen(case: &Case, rows: usize, width: usize, random: &mut Random) -> Vec<u8> {
    let v = case.dim("v");
    let mut bits = vec![0; rows * width];
    for row in bits.chunks_mut(width.max(1)) {
        for id in 0..v {
            row[id / 8] |= u8::from(random.below(8) == 0) << (id % 8);
        }
    }
    bits
}
