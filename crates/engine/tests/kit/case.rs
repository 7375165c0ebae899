//! A plan with made-up data: a checkpoint whose tensors lie at odd offsets, inputs, a state.

use std::collections::BTreeMap;

use half::{bf16, f16};
use serde_json::Value;
use statespace_engine::{DType, Engine, Error, File, Source, TensorSource};

use super::{Wait, f32s, i32s, open};

/// Numbers that look random.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }
    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n
    }
    /// In [-1, 1).
    pub fn unit(&mut self) -> f32 {
        (self.next() % (1 << 24)) as f32 / (1 << 23) as f32 - 1.0
    }
    fn floats(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.unit() * scale).collect()
    }
}

/// A plan with data.
pub struct Case {
    pub plan: Value,
    pub source: Source,
    pub inputs: BTreeMap<String, Vec<u8>>,
    pub state: BTreeMap<String, Vec<u8>>,
    /// Valid rows of each batch row, where the plan has `lens`.
    pub lens: Vec<i32>,
    pub steps: u32,
}

/// All that can be read after a run, by name; of the dumps only what the nodes had to write.
pub type Outcome = BTreeMap<String, (DType, Vec<u8>)>;

/// Elements of any type.
pub fn values(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    match dtype {
        DType::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect(),
        DType::Bf16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).into()).collect(),
        DType::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).into()).collect(),
        DType::I32 => bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b).into()).collect(),
        DType::U32 => bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b).into()).collect(),
        DType::U8 => bytes.iter().map(|b| (*b).into()).collect(),
    }
}

/// The first thing whose mean squared error, over the mean square of what it should be, is above `bound`.
pub fn differs(found: &Outcome, wanted: &Outcome, bound: f64) -> Option<String> {
    assert_eq!(found.len(), wanted.len());
    wanted.iter().find_map(|(name, (dtype, bytes))| {
        let (a, b) = (values(*dtype, &found[name].1), values(*dtype, bytes));
        assert_eq!(a.len(), b.len(), "{name}");
        let error: f64 = a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum();
        let square: f64 = b.iter().map(|b| b * b).sum();
        let fits = error <= bound * square.max(f64::MIN_POSITIVE) || error == 0.0;
        (!fits).then(|| format!("{name}: error {error:e} of {square:e}"))
    })
}

impl Case {
    /// Data for a plan; ids are below `ids`.
    pub fn new(plan: Value, seed: u64, ids: usize) -> Case {
        let mut random = Random(seed);
        let mut source = Source { files: Vec::new(), tensors: Vec::new(), mmap: true };
        let mut bytes = vec![0];
        for row in plan["weights"].as_array().unwrap() {
            let tensor = tensor(row, &mut random, &mut bytes);
            source.tensors.push(tensor);
        }
        source.files.push(File::Bytes(bytes));
        let buffers = |list: &str| {
            let list = plan[list].as_object().unwrap().clone();
            list.into_iter().map(|(name, id)| (name, plan["buffers"][id.as_u64().unwrap() as usize].clone())).collect::<Vec<_>>()
        };
        let is_lens = |buffer: &Value| {
            let nodes = plan["nodes"].as_array().unwrap();
            buffer["dtype"] == "i32"
                && nodes.iter().any(|n| n["op"] != "sample" && n["in"].as_array().unwrap().last() == Some(&buffer["id"]))
        };
        let length = plan["nodes"][0]["out"].get(0).map_or(1, |id| shape(&plan["buffers"][id.as_u64().unwrap() as usize])[1]);
        let mut case = Case { source, inputs: BTreeMap::new(), state: BTreeMap::new(), lens: Vec::new(), steps: 1, plan: plan.clone() };
        for (name, buffer) in buffers("inputs") {
            let count = shape(&buffer).iter().product();
            let ints = (0..count).map(|_| random.below(ids) as i32).collect::<Vec<_>>();
            let bytes = match buffer["dtype"].as_str().unwrap() {
                "i32" => i32s(&ints),
                "bf16" => random.floats(count, 1.0).into_iter().flat_map(|x| bf16::from_f32(x).to_le_bytes()).collect(),
                _ => f32s(&random.floats(count, 1.0)),
            };
            case.inputs.insert(name, bytes);
        }
        for (name, buffer) in buffers("state") {
            let shape = shape(&buffer);
            let count: usize = shape.iter().product();
            let bytes = match (name.as_str(), buffer["dtype"].as_str().unwrap()) {
                ("eos", _) => i32s(&vec![-1; count]),
                ("sampler", _) => f32s(&[0.8, 5.0, 0.9, 0.0, 1.1, 1.0, 0.0, 0.0].repeat(shape[0])),
                ("tokens", _) => i32s(&(0..count).map(|_| random.below(ids) as i32).collect::<Vec<_>>()),
                (_, "i32") if name == "lens" || is_lens(&buffer) => {
                    // Rows that are not valid are not written, so a plan that sums them all must find them all valid.
                    let whole = plan["nodes"].as_array().unwrap().iter().any(|n| n["op"] == "sum_rows" && n["in"][2].is_null());
                    case.lens = (0..count).map(|i| if whole { length } else { length * (i + 1) % (length + 1) } as i32).collect();
                    i32s(&case.lens)
                }
                (_, "f32") => f32s(&random.floats(count, 0.5)),
                (_, _) => vec![0; buffer["bytes"].as_u64().unwrap() as usize],
            };
            case.state.insert(name, bytes);
        }
        if plan["nodes"].as_array().unwrap().iter().any(|node| node["op"] == "sample") {
            case.steps = 5;
        }
        case
    }

    /// Loads it.
    pub fn load(&self, engine: &Engine) -> Result<(u32, u32), Error> {
        let weights = engine.open_weights(self.source.clone())?;
        let program = engine.load_plan(&self.plan, Some(weights))?;
        let state = engine.new_state(program)?;
        engine.release(weights);
        for (name, bytes) in &self.inputs {
            engine.put(program, name, bytes)?;
        }
        for (name, bytes) in &self.state {
            engine.put(state, name, bytes)?;
        }
        Ok((program, state))
    }

    /// Runs it on an engine with these options, `dump` among them.
    pub fn run(&self, options: &str) -> Outcome {
        let engine = open(options);
        let (program, mut outcome) = self.ran(&engine);
        for node in self.plan["nodes"].as_array().unwrap() {
            for (k, id) in node["out"].as_array().unwrap().iter().enumerate() {
                let buffer = &self.plan["buffers"][id.as_u64().unwrap() as usize];
                let bytes = engine.get(program, &format!("node.{}.{k}", node["id"])).unwrap();
                outcome.insert(format!("node {} {} {k}", node["id"], node["op"]), (dtype(buffer), self.written(node, buffer, bytes)));
            }
        }
        outcome
    }

    /// Runs it on an engine with these options; the state afterwards.
    pub fn end(&self, options: &str) -> Outcome {
        self.ran(&open(options)).1
    }

    fn ran(&self, engine: &Engine) -> (u32, Outcome) {
        let (program, state) = self.load(engine).unwrap();
        engine.go(program, Some(state), self.steps).unwrap();
        let fields = self.plan["state"].as_object().unwrap().iter().map(|(name, id)| {
            let buffer = &self.plan["buffers"][id.as_u64().unwrap() as usize];
            (format!("state {name}"), (dtype(buffer), engine.get(state, name).unwrap()))
        });
        (program, fields.collect())
    }

    /// The part of a node's output that it had to write.
    fn written(&self, node: &Value, buffer: &Value, bytes: Vec<u8>) -> Vec<u8> {
        let shape = shape(buffer);
        let is_bounded = node["op"] != "transpose" && !node["in"].as_array().unwrap().last().unwrap().is_null();
        let size = dtype(buffer).size() as usize;
        let row = shape[2..].iter().product::<usize>() * size;
        let valid = |b: usize| match node["op"].as_str() {
            Some("sample") => self.steps as usize,
            _ if is_bounded && !self.lens.is_empty() => self.lens[b] as usize,
            _ => shape[1],
        };
        (0..shape[0]).flat_map(|b| bytes[b * shape[1] * row..][..valid(b) * row].to_vec()).collect()
    }
}

fn shape(buffer: &Value) -> Vec<usize> {
    buffer["shape"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect()
}

fn dtype(buffer: &Value) -> DType {
    serde_json::from_value(buffer["dtype"].clone()).unwrap()
}

/// A tensor that the row can be made of, appended to `file` at an odd offset.
fn tensor(row: &Value, random: &mut Random, file: &mut Vec<u8>) -> TensorSource {
    let mut shape = shape(row);
    if row["transpose"] == true {
        shape.reverse();
    }
    let dtype = if row["as"] == "stored" { dtype(row) } else { [DType::F32, DType::Bf16, DType::F16][random.below(3)] };
    let columns = *shape.last().unwrap() as f32;
    let scale = if row["as"] == "negexp" {
        1.0
    } else if shape.len() > 1 {
        1.5 / columns.sqrt()
    } else {
        0.5
    };
    let values = random.floats(shape.iter().product(), scale);
    let offset = file.len() | 1;
    file.resize(offset, 0);
    match dtype {
        DType::Bf16 => file.extend(values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes())),
        DType::F16 => file.extend(values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes())),
        _ => file.extend(f32s(&values)),
    }
    let bytes = (file.len() - offset) as u64;
    let name = row["key"].as_str().unwrap().to_owned();
    TensorSource { name, file: 0, offset: offset as u64, bytes, dtype, shape: shape.into_iter().map(|v| v as u64).collect() }
}
