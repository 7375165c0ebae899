//! The CUDA executor: every case of the op table as a plan of one node against the f64 executor, and whole plans in all modes. On a GPU where
//! there is one, else on the emulator. Needs nothing but itself: `cuda [part of a name]…`; `--emulated` leaves a GPU alone.

mod kit;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};

use kit::build::{Build, Sizes, block, block_of, stack};
use kit::case::{Case, differs, values};
use kit::{Wait, options};
use serde_json::Value;
use statespace_engine::{DType, Engine, File, Source, TensorSource, devices};
use statespace_ops::cases::{self, Tensor, nmse};

const CUDA: &str = r#""executor":"cuda""#;

/// A check by name; fails with what was found, or panics.
type Check = (String, Box<dyn Fn(&str) -> Result<(), String>>);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let real = if arguments.iter().any(|a| a == "--emulated") { Err("not asked for".to_owned()) } else { real() };
    let emulated = Engine::open(options(r#"{"executor":"cuda","emulated":true}"#));
    let (device, name) = match (real, emulated) {
        (Ok(name), _) => (CUDA.to_owned(), name),
        (Err(reason), Ok(_)) => (format!(r#"{CUDA},"emulated":true"#), format!("the emulator (GPU: {reason})")),
        (Err(reason), Err(why)) => {
            println!("skipped: no GPU ({reason}) and no emulator ({why})");
            return ExitCode::SUCCESS;
        }
    };
    let number = |flag: &str| arguments.iter().find_map(|a| a.strip_prefix(flag)?.parse::<usize>().ok()).unwrap_or(0);
    let (from, mut passed, mut failed) = (number("--from="), number("--passed="), number("--failed="));
    let words: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    if from == 0 {
        println!("on {name}");
        std::panic::set_hook(Box::new(|_| {}));
    }
    let checks = checks().into_iter().filter(|(name, _)| words.is_empty() || words.iter().any(|word| name.contains(&**word)));
    for (i, (name, check)) in checks.enumerate().skip(from) {
        match catch_unwind(AssertUnwindSafe(|| check(&device))).unwrap_or_else(|panic| Err(kit::message(&*panic))) {
            Ok(()) => passed += 1,
            Err(found) => {
                failed += 1;
                println!("FAILED {name}: {found}");
            }
        }
        // A kernel that failed on a GPU has spoiled it for this process.
        if failed > number("--failed=") && !device.contains("emulated") && spoiled() {
            let progress = [format!("--from={}", i + 1), format!("--passed={passed}"), format!("--failed={failed}")];
            let rest = Command::new(std::env::current_exe().unwrap()).args(&words).args(progress).status().unwrap();
            return if rest.success() && failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    }
    println!("test result: {}. {passed} passed; {failed} failed; 0 ignored", if failed == 0 { "ok" } else { "FAILED" });
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The GPU that the engine takes.
fn real() -> Result<String, String> {
    let devices = devices().map_err(|error| error.to_string())?;
    Ok(format!("{} ({}, CUDA {})", devices[0].name, devices[0].capability, devices[0].driver))
}

fn spoiled() -> bool {
    Engine::open(options(&format!("{{{CUDA}}}"))).is_err()
}

fn checks() -> Vec<Check> {
    let mut all: Vec<Check> = Vec::new();
    for case in cases::cases() {
        for seed in 0..if case.op == "sample" { 24 } else { 2 } {
            let case = case.clone();
            all.push((format!("{} seed {seed}", case.label), Box::new(move |device| agrees(&case, seed, device))));
        }
    }
    for (b, l, compute) in [(1, 1, "f32"), (3, 37, "f32"), (2, 21, "bf16"), (9, 1, "bf16")] {
        let name = format!("block b{b} l{l} {compute}");
        all.push((
            name,
            Box::new(move |device| modes_agree(&block(&Sizes { b, l, d: 96, e: 200, n: 16, v: 333, compute }), compute, device)),
        ));
    }
    for (b, l, e, r) in [(3, 37, 200, 8), (9, 1, 200, 8), (37, 1, 264, 40)] {
        let sizes = Sizes { b, l, d: 96, e, n: 16, v: 333, compute: "bf16" };
        all.push((
            format!("narrow block b{b} l{l} e{e}"),
            Box::new(move |device| narrow_agrees(&block_of(&sizes, r, ["bf16"; 2]), l == 1, device)),
        ));
    }
    for (d, e, n, compute) in
        [(96, 200, 16, "f32"), (768, 1536, 16, "bf16"), (160, 320, 5, "bf16"), (2560, 136, 128, "f32"), (100, 44, 3, "f32")]
    {
        let sizes = Sizes { b: 1, l: 1, d, e, n, v: 333, compute };
        all.push((format!("token d{d} e{e} n{n} {compute}"), Box::new(move |device| token_agrees(&block(&sizes), compute, device))));
    }
    for (d, e, r, v, layers) in
        [(256, 256, 16, 333, 3), (512, 256, 38, 2100, 1), (256, 256, 160, 333, 2), (768, 1536, 48, 20000, 2), (1024, 2048, 64, 333, 1)]
    {
        let sizes = Sizes { b: 1, l: 1, d, e, n: 16, v: v * 2, compute: "bf16" };
        all.push((
            format!("token layers{layers} d{d} e{e} r{r}"),
            Box::new(move |device| token_agrees(&stack(&sizes, r, layers), "bf16", device)),
        ));
    }
    let sample = include_str!("../../../test/golden/plans/sample.json");
    all.push(("golden sample".to_owned(), Box::new(move |device| modes_agree(&serde_json::from_str(sample).unwrap(), "f32", device))));
    all
}

/// A case as a plan of one node; parameters are weights at odd offsets of a file.
struct Node {
    plan: Value,
    source: Source,
    inputs: Vec<(String, Vec<u8>)>,
    states: Vec<(String, Vec<u8>)>,
    outputs: Vec<String>,
    steps: u32,
}

impl Node {
    fn new(case: &cases::Case, tensors: &[Option<Tensor>]) -> Node {
        let mut p = Build::default();
        let (mut bytes, mut rows) = (vec![0], Vec::new());
        let (mut inputs, mut states, mut named) = (Vec::new(), Vec::new(), Vec::new());
        let mut place = |tensor: &Tensor| {
            let (name, dtype) = (&tensor.name, tensor.dtype());
            if case.updates.contains(name) {
                states.push((name.clone(), tensor.bytes()));
                return p.placed(name, "state", dtype, &tensor.shape);
            }
            if ["weight", "bias", "A", "D", "dt_bias"].contains(&name.as_str()) {
                let (dtype, shape) = (DType::from_name(dtype).unwrap(), tensor.shape.iter().map(|axis| *axis as u64).collect());
                let offset = bytes.len() | 1;
                bytes.resize(offset, 0);
                bytes.extend(tensor.bytes());
                let length = (bytes.len() - offset) as u64;
                rows.push(TensorSource { name: name.clone(), file: 0, offset: offset as u64, bytes: length, dtype, shape });
                return p.weight(name, "stored", false, dtype.name(), &tensor.shape);
            }
            inputs.push((name.clone(), tensor.bytes()));
            let (mut whole, width) = (tensor.shape.clone(), tensor.width());
            if let Some(last) = whole.last_mut() {
                *last = tensor.ld;
            }
            let id = p.placed(name, "io", dtype, &whole);
            named.push((name.clone(), id));
            if tensor.ld == width { id } else { p.columns(&format!("{name} part"), id, 0, &tensor.shape) }
        };
        let given: Vec<Option<usize>> = tensors.iter().map(|tensor| tensor.as_ref().map(&mut place)).collect();
        let made: Vec<(String, usize)> =
            case.outputs().iter().map(|output| (output.name.clone(), p.placed(&output.name, "io", &output.dtype, &output.shape))).collect();
        p.node(&case.op, &given, &made.iter().map(|(_, id)| *id).collect::<Vec<_>>(), Value::Object(case.attrs.clone()));
        let plan = p.finish(&pairs(&named), &pairs(&made));
        let steps = if case.op == "sample" { case.dim("steps") as u32 } else { 1 };
        let source = Source { files: vec![File::Bytes(bytes)], tensors: rows, mmap: true };
        Node { plan, source, inputs, states, outputs: made.into_iter().map(|(name, _)| name).collect(), steps }
    }

    /// What there is after a run, twice with one program: the second time from its graph, where it has one.
    fn run(&self, options: &str) -> [Vec<(String, Vec<u8>)>; 2] {
        let engine = kit::open(options);
        let weights = engine.open_weights(self.source.clone()).unwrap();
        let program = engine.load_plan(&self.plan, Some(weights)).unwrap();
        [(); 2].map(|()| {
            let state = engine.new_state(program).unwrap();
            self.inputs.iter().for_each(|(name, bytes)| engine.put(program, name, bytes).unwrap());
            self.states.iter().for_each(|(name, bytes)| engine.put(state, name, bytes).unwrap());
            engine.go(program, Some(state), self.steps).unwrap_or_else(|error| panic!("{error}"));
            let outputs = self.outputs.iter().map(|name| (name.clone(), engine.get(program, name).unwrap()));
            outputs.chain(self.states.iter().map(|(name, _)| (name.clone(), engine.get(state, name).unwrap()))).collect()
        })
    }
}

fn pairs(named: &[(String, usize)]) -> Vec<(&str, usize)> {
    named.iter().map(|(name, id)| (name.as_str(), *id)).collect()
}

fn agrees(case: &cases::Case, seed: u64, device: &str) -> Result<(), String> {
    let tensors = case.inputs(seed);
    let node = Node::new(case, &tensors);
    let dtype = |name: &str| {
        let output = case.outputs().into_iter().find(|output| output.name == name).map(|output| output.dtype);
        let state = || tensors.iter().flatten().find(|tensor| tensor.name == name).unwrap().dtype().to_owned();
        DType::from_name(&output.unwrap_or_else(state)).unwrap()
    };
    let [found, again] = node.run(&format!("{{{device}}}"));
    let [wanted, _] = node.run(r#"{"executor":"reference"}"#);
    for ((name, found), (_, wanted)) in found.iter().zip(&wanted) {
        let (found, wanted) = (values(dtype(name), found), values(dtype(name), wanted));
        let error = nmse(&found, &wanted);
        if error > case.tol(dtype(name).name()) || error.is_nan() {
            let (i, _) = found
                .iter()
                .zip(&wanted)
                .enumerate()
                .find(|(_, (a, b))| (*a - *b).abs() > 1e-3 * b.abs().max(1e-3))
                .unwrap_or((0, (&0.0, &0.0)));
            return Err(format!("{name}: NMSE {error:e}; [{i}] is {} instead of {}, of {}", found[i], wanted[i], found.len()));
        }
    }
    if found != again { Err("a second run has other bits".to_owned()) } else { Ok(()) }
}

/// Values that are kept in bf16 lie where they may in every mode, and change results as little as a rounding does. Guards keep nodes apart that
/// are launched together in a step, where a value between them is not rounded.
fn narrow_agrees(plan: &Value, is_step: bool, device: &str) -> Result<(), String> {
    let case = Case::new(plan.clone(), 3, 332);
    let base = case.end(&format!("{{{device}}}"));
    for (mode, alike) in [(r#""memory":"flat""#, true), (r#""guard":true"#, !is_step)] {
        let other = case.end(&format!("{{{device},{mode}}}"));
        if let Some(found) = differs(&other, &base, 0.0).filter(|_| alike) {
            return Err(format!("{mode}: {found}"));
        }
        if let Some(found) = differs(&other, &case.end(r#"{"executor":"reference"}"#), 1e-4) {
            return Err(format!("{mode}: {found}"));
        }
    }
    if differs(&base, &case.end(&format!("{{{device},\"dump\":true}}")), 0.0).is_none() {
        return Err("nothing is kept in bf16".to_owned());
    }
    differs(&base, &case.end(r#"{"executor":"reference"}"#), 1e-4).map_or(Ok(()), Err)
}

/// A layer for one token, whose nodes are launched together where nobody looks between them.
fn token_agrees(plan: &Value, compute: &str, device: &str) -> Result<(), String> {
    let case = Case::new(plan.clone(), 5, 332);
    let together = case.end(&format!("{{{device}}}"));
    let bound = if compute == "bf16" { 1e-4 } else { 1e-9 };
    differs(&together, &case.end(r#"{"executor":"reference"}"#), bound).map_or(Ok(()), Err)
}

/// Every mode computes the same bits, close to the reference.
fn modes_agree(plan: &Value, compute: &str, device: &str) -> Result<(), String> {
    let case = Case::new(plan.clone(), 3, if plan["name"] == "test" { 332 } else { 20 });
    let base = case.run(&format!(r#"{{{device},"dump":true}}"#));
    for mode in [r#""memory":"flat""#, r#""guard":true"#, r#""memory":"flat","guard":true"#] {
        let other = case.run(&format!(r#"{{{device},"dump":true,{mode}}}"#));
        if let Some(found) = differs(&other, &base, 0.0) {
            return Err(format!("{mode}: {found}"));
        }
    }
    // Rounding to bf16 may fall to the other side where f32 and f64 differ.
    let bound = if compute == "bf16" { 1e-4 } else { 1e-9 };
    differs(&base, &case.run(r#"{"dump":true,"executor":"reference"}"#), bound).map_or(Ok(()), Err)
}
