//! The package's scan on a GPU, through its engine. Needs nothing but a driver; a JSON line a result.
//!
//! - `time DTYPE BxLxD …`: milliseconds a scan (softplus, bias, D, gate, state in and out; 16 states). A program of up to eight of them is
//!   replayed as a graph until 60 ms have passed, five times: the median, and the least and the most.
//! - `large [L]`: more than 2³¹ elements, bf16: sampled channels against f64, one call against 65536 steps at a time, and a second run, by bits.
#![allow(missing_docs)]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;
use std::time::Instant;

use half::bf16;
use serde_json::{Value, json};
use statespace_engine::{DType, Engine, Error, File, Reply, Source, TensorSource, info};
use statespace_ops::scan::{Reference, reference};
use statespace_ops::{Mat, Rows};

const STATES: usize = 16;
/// Steps after which inputs repeat.
const PERIOD: usize = 65536;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let engine = match Engine::open(serde_json::from_str(r#"{"executor":"cuda"}"#).expect("options")) {
        Ok(engine) => engine,
        Err(error) => return println!("skipped: {error}"),
    };
    match words[..] {
        ["time", dtype, ref shapes @ ..] => shapes.iter().for_each(|shape| time(&engine, dtype, shape)),
        ["large", ref rest @ ..] => large(&engine, rest.first().map_or(17 * PERIOD, |l| l.parse().expect("a length"))),
        _ => println!("scan-op time DTYPE BxLxD … | large [L]"),
    }
}

fn wait<T: Send + 'static>(call: impl FnOnce(Reply<T>)) -> Result<T, Error> {
    let (send, receive) = channel();
    call(Box::new(move |result| send.send(result).expect("who waits")));
    receive.recv().expect("a reply")
}

/// A seeded number in [low, high), by place.
fn uniform(seed: u64, i: usize, low: f32, high: f32) -> f32 {
    let mut s = (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(seed.wrapping_mul(0xD1B5_4A32_D192_ED03));
    s = (s ^ s >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    s = (s ^ s >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    low + (high - low) * ((s ^ s >> 31) >> 40) as f32 / (1u64 << 24) as f32
}

fn random(seed: u64, count: usize, low: f32, high: f32) -> Vec<f32> {
    (0..count).map(|i| uniform(seed, i, low, high)).collect()
}

fn bytes(dtype: &str, values: &[f32]) -> Vec<u8> {
    match dtype {
        "f32" => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        "bf16" => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
        "f16" => values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
        other => panic!("what is {other}?"),
    }
}

/// Name, columns, range: activations and parameters.
fn activations(e: usize) -> [(&'static str, usize, [f32; 2]); 5] {
    [("u", e, [-1.0, 1.0]), ("dt", e, [-1.0, 1.0]), ("B", STATES, [-1.0, 1.0]), ("C", STATES, [-1.0, 1.0]), ("z", e, [-2.0, 2.0])]
}
fn parameters(e: usize) -> [(&'static str, Vec<usize>, [f32; 2]); 3] {
    [("A", vec![STATES, e], [-16.0, -0.5]), ("D", vec![e], [0.5, 1.5]), ("dt_bias", vec![e], [-5.0, -2.0])]
}

/// Rows that repeat after PERIOD.
fn given(seed: usize, width: usize, [low, high]: [f32; 2], l: usize) -> Vec<f32> {
    random(seed as u64 + 1, l.min(PERIOD) * width, low, high)
}

/// A program of `count` scans of the same inputs, each with a state of its own, loaded and with its inputs in place.
struct Program<'a> {
    engine: &'a Engine,
    program: u32,
    state: u32,
    weights: u32,
}

impl<'a> Program<'a> {
    fn new(engine: &'a Engine, dtype: &str, [b, l, e]: [usize; 3], count: usize) -> Result<Self, Error> {
        let (mut file, mut tensors) = (Vec::new(), Vec::new());
        for (seed, (name, shape, [low, high])) in parameters(e).into_iter().enumerate() {
            let (offset, values) = (file.len() as u64, random(seed as u64 + 11, shape.iter().product(), low, high));
            file.extend(bytes("f32", &values));
            let shape = shape.iter().map(|axis| *axis as u64).collect();
            let bytes = file.len() as u64 - offset;
            tensors.push(TensorSource { name: name.into(), file: 0, offset, bytes, dtype: DType::F32, shape });
        }
        let weights = wait(|reply| engine.weights(Source { files: vec![File::Bytes(file)], tensors, mmap: false }, reply))?;
        let program = wait(|reply| engine.load(plan(dtype, [b, l, e], count).to_string(), Some(weights), reply))?;
        let state = wait(|reply| engine.state(program, reply))?;
        for (seed, (name, width, range)) in activations(e).into_iter().enumerate() {
            let period = bytes(dtype, &given(seed, width, range, l));
            let whole = period.len() / l.min(PERIOD) * b * l;
            let mut repeated = Vec::with_capacity(whole);
            while repeated.len() < whole {
                repeated.extend_from_slice(&period[..period.len().min(whole - repeated.len())]);
            }
            wait(|reply| engine.write(program, name.into(), repeated, reply))?;
        }
        Ok(Program { engine, program, state, weights })
    }

    fn run(&self, steps: u32) -> Result<(), Error> {
        wait(|reply| self.engine.run(self.program, Some(self.state), steps, Arc::new(AtomicBool::new(false)), reply))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let of = if name.starts_with('h') { self.state } else { self.program };
        wait(|reply| self.engine.read(of, name.into(), reply))
    }

    /// As before the first step.
    fn reset(&self, e: usize) -> Result<(), Error> {
        wait(|reply| self.engine.write(self.state, "h0".into(), vec![0; 4 * STATES * e], reply))
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        [self.state, self.program, self.weights].into_iter().for_each(|handle| self.engine.release(handle));
    }
}

fn plan(dtype: &str, [b, l, e]: [usize; 3], count: usize) -> Value {
    let size = if dtype == "f32" { 4 } else { 2 };
    let mut ends = [0; 2];
    let mut buffers = Vec::new();
    let mut placed = |name: String, space: usize, dtype: &str, shape: Vec<usize>, size: usize| {
        let (id, bytes) = (buffers.len(), shape.iter().product::<usize>() * size);
        let space_name = ["state", "io"][space];
        buffers.push(json!({
            "id": id, "name": name, "dtype": dtype, "shape": shape, "space": space_name, "offset": ends[space], "bytes": bytes
        }));
        ends[space] += bytes.next_multiple_of(256);
        id
    };
    let inputs = activations(e).map(|(name, width, _)| (name, placed(name.into(), 1, dtype, vec![b, l, width], size)));
    let outs: Vec<usize> = (0..count).map(|k| placed(format!("y{k}"), 1, dtype, vec![b, l, e], size)).collect();
    let states: Vec<usize> = (0..count).map(|k| placed(format!("h{k}"), 0, "f32", vec![b, STATES, e], 4)).collect();
    let first = buffers.len();
    let weight = |(i, (name, shape, _)): (usize, (&str, Vec<usize>, _))| {
        let row = json!({ "buffer": first + i, "key": name, "as": "f32", "dtype": "f32", "shape": shape });
        (json!({ "id": first + i, "name": name, "dtype": "f32", "shape": shape, "space": "weights" }), row)
    };
    let (weights, rows): (Vec<Value>, Vec<Value>) = parameters(e).into_iter().enumerate().map(weight).unzip();
    buffers.extend(weights);
    let [u, dt, b_matrix, c_matrix, z] = inputs.map(|(_, id)| id);
    let node = |k: usize| {
        let operands = json!([u, dt, first, b_matrix, c_matrix, first + 1, z, first + 2, states[k], null]);
        json!({ "id": k, "op": "scan", "in": operands, "out": [outs[k]], "attrs": { "softplus": true, "groups": 1 }, "at": "bench" })
    };
    let named =
        |prefix: &str, ids: &[usize]| -> Value { ids.iter().enumerate().map(|(k, id)| (format!("{prefix}{k}"), json!(id))).collect() };
    json!({
        "format": 1, "opset": info().opset, "name": "scan", "spaces": { "temp": 0, "state": ends[0], "io": ends[1] },
        "weights": rows, "buffers": buffers, "nodes": (0..count).map(node).collect::<Vec<_>>(),
        "inputs": inputs.iter().map(|(name, id)| ((*name).to_owned(), json!(id))).collect::<serde_json::Map<_, _>>(),
        "outputs": named("y", &outs), "state": named("h", &states),
    })
}

fn time(engine: &Engine, dtype: &str, shape: &str) {
    let sizes: Vec<usize> = shape.split('x').map(|axis| axis.parse().expect("BxLxD")).collect();
    let [b, l, e] = sizes[..] else { panic!("{shape} is not BxLxD") };
    let count = if b * l * e > 1 << 26 { 1 } else { 8 };
    let program = match Program::new(engine, dtype, [b, l, e], count) {
        Ok(program) => program,
        Err(error) => return println!("{}", json!({ "kernel": "scan/package", "skipped": error.to_string(), "shape": shape })),
    };
    let milliseconds = |steps: u32| {
        let start = Instant::now();
        program.run(steps).expect("a run");
        start.elapsed().as_secs_f64() * 1e3
    };
    milliseconds(3);
    let steps = (60.0 / milliseconds(2) * 2.0).clamp(1.0, 4000.0) as u32;
    let mut times: Vec<f64> = (0..5).map(|_| milliseconds(steps) / f64::from(steps) / count as f64).collect();
    times.sort_by(f64::total_cmp);
    let rounded = |ms: f64| (ms * 1e5).round() / 1e5;
    println!(
        "{}",
        json!({
            "kernel": "scan/package", "card": engine.info().device.map(|d| d.name), "dtype": dtype,
            "batch": b, "length": l, "channels": e, "states": STATES,
            "ms": rounded(times[2]), "low": rounded(times[0]), "high": rounded(times[4]), "graphs": 5 * steps, "inGraph": count,
        })
    );
}

fn large(engine: &Engine, l: usize) {
    let e = 2048;
    let whole = match Program::new(engine, "bf16", [1, l, e], 1) {
        Ok(program) => program,
        Err(error) => return println!("skipped: {error}"),
    };
    whole.run(1).expect("a run");
    let (y, h) = (whole.read("y0").expect("y"), whole.read("h0").expect("h"));
    whole.reset(e).expect("a state");
    whole.run(1).expect("a run");
    let repeats = whole.read("y0").expect("y") == y && whole.read("h0").expect("h") == h;
    drop(whole);
    let is_cut = l.is_multiple_of(PERIOD).then(|| {
        let part = Program::new(engine, "bf16", [1, PERIOD, e], 1).expect("a smaller program");
        part.run((l / PERIOD) as u32).expect("a run");
        part.read("h0").expect("h") == h && part.read("y0").expect("y") == y[y.len() - 2 * PERIOD * e..]
    });
    let channels = [0, 1, 63, 777, 1024, 2047];
    let [y_error, h_error] = errors(&channels, l, e, &y, &h);
    println!(
        "{}",
        json!({
            "kernel": "scan/package", "dtype": "bf16", "batch": 1, "length": l, "channels": e, "elements": l * e, "beyond2To31": l * e > 1 << 31,
            "sampledChannels": channels, "nmse": y_error, "nmseState": h_error, "sameBitsAgain": repeats, "sameBitsBy65536Steps": is_cut,
        })
    );
}

/// NMSE of y and of the last state, of some channels of one row from zeros.
fn errors(channels: &[usize], l: usize, e: usize, y: &[u8], h: &[u8]) -> [f64; 2] {
    let widened = |values: &[f32]| -> Vec<f64> { values.iter().map(|&v| f64::from(bf16::from_f32(v))).collect() };
    let columns = |values: &[f64], width: usize| -> Vec<f64> {
        (0..l).flat_map(|t| channels.iter().map(move |&c| values[t % PERIOD * width + c])).collect()
    };
    let all = activations(e);
    let [u, dt, b, c, z] = [0, 1, 2, 3, 4].map(|i| {
        let (_, width, range) = all[i];
        let values = widened(&given(i, width, range, l));
        if width == e { columns(&values, width) } else { values.iter().copied().cycle().take(l * width).collect() }
    });
    let [a, d, bias] = [0, 1, 2].map(|i| {
        let (_, shape, [low, high]) = parameters(e).into_iter().nth(i).expect("a parameter");
        let values = random(i as u64 + 11, shape.iter().product(), low, high);
        values.chunks(e).flat_map(|row| channels.iter().map(|&c| f64::from(row[c]))).collect::<Vec<f64>>()
    });
    let width = channels.len();
    let (rows, mat) = (Rows::dense(1, l), |data, ld| Mat { data, ld });
    let (u, dt, z) = (mat(&u[..], width), mat(&dt[..], width), Some(mat(&z[..], width)));
    let (b, c, d, dt_bias) = (mat(&b[..], STATES), mat(&c[..], STATES), Some(&d[..]), Some(&bias[..]));
    let op = Reference { rows, e: width, n: STATES, groups: 1, softplus: true, u, dt, a: &a, b, c, d, z, dt_bias };
    let (mut wanted_h, mut wanted_y) = (vec![0.0; STATES * width], vec![0.0; l * width]);
    reference(&op, &mut wanted_h, &mut wanted_y);
    let at = |i: usize| f64::from(bf16::from_le_bytes([y[2 * i], y[2 * i + 1]]));
    let state_at = |i: usize| f64::from(f32::from_le_bytes(h[4 * i..][..4].try_into().expect("four bytes")));
    let nmse = |wanted: &[f64], got: &dyn Fn(usize) -> f64| {
        let of = |i: usize| (got(i / width * e + channels[i % width]) - wanted[i]).powi(2);
        (0..wanted.len()).map(of).sum::<f64>() / wanted.iter().map(|v| v * v).sum::<f64>()
    };
    [nmse(&wanted_y, &at), nmse(&wanted_h, &state_at)]
}
