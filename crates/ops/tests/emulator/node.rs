//! A case of the op table as a node on the emulator.

use statespace_ops::cases::parity::UNWRITTEN;
use statespace_ops::cases::{Case, Data, Tensor};
use statespace_ops::cuda::{Call, Device, Operand, Sizes, launches, scratch_bytes};
use statespace_plan::ops::{CastAttrs, Compute, LinearAttrs, LinearCrossEntropyAttrs, RmsnormAttrs, SampleAttrs, ScanAttrs, To};
use statespace_plan::{Attrs, DType};

use super::memory::{Buffer, data};

/// How a case is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Way<'a> {
    /// Activations lie one element behind an aligned address.
    pub shifted: bool,
    /// Threads and blocks the other way round.
    pub descending: bool,
    /// cuBLASLt is there.
    pub gemm: bool,
    /// Rows of outputs that are not valid may be written, too.
    pub whole: bool,
    /// An input that lies in the output.
    pub shared: Option<&'a str>,
    /// The first output's type, where it is not the table's.
    pub to: Option<&'a str>,
}

/// What came of a node.
pub struct Ran {
    /// Outputs, then updated inputs.
    pub written: Vec<(String, Data)>,
    /// The bad id that it reported.
    pub fault: Option<i32>,
}

/// Runs a case's launches, all of its steps; fails with what went wrong other than in the results.
pub fn run(case: &Case, inputs: &[Option<Tensor>], way: Way) -> Result<Ran, String> {
    let shift = |name: &str, dtype: &str| if way.shifted && name != "weight" { size(dtype) } else { 0 };
    let mut given: Vec<Option<Buffer>> = inputs
        .iter()
        .map(|tensor| tensor.as_ref().map(|tensor| Buffer::input(&tensor.bytes(), shift(&tensor.name, tensor.dtype()))))
        .collect();
    let shared = way.shared.and_then(|name| inputs.iter().position(|tensor| tensor.as_ref().is_some_and(|tensor| tensor.name == name)));
    let mut outputs = case.outputs();
    if let Some(to) = way.to {
        outputs[0].dtype = to.into();
    }
    let mut made: Vec<Buffer> = outputs
        .iter()
        .enumerate()
        .map(|(i, output)| match shared.filter(|_| i == 0) {
            Some(input) => {
                Buffer::input(&inputs[input].as_ref().expect("the input that is shared").bytes(), shift(&output.name, &output.dtype))
            }
            None => Buffer::output(&unwritten(&output.dtype, output.shape.iter().product()), shift(&output.name, &output.dtype)),
        })
        .collect();

    let places: Vec<Operand> = made
        .iter_mut()
        .zip(&outputs)
        .map(|(buffer, output)| Operand {
            address: buffer.address(),
            ld: *output.shape.last().expect("an axis"),
            dtype: dtype(&output.dtype),
        })
        .collect();
    let mut sources = vec![Operand::ABSENT; inputs.len()];
    for (i, tensor) in inputs.iter().enumerate() {
        let (Some(tensor), Some(buffer)) = (tensor, &mut given[i]) else { continue };
        let address = if shared == Some(i) { places[0].address } else { buffer.address() };
        sources[i] = Operand { address, ld: tensor.ld, dtype: dtype(tensor.dtype()) };
    }
    let (sizes, attrs) = (sizes(case), attrs(case));
    let mut step = Buffer::input(&[0; 8], 0);
    let mut fault = Buffer::input(&[0; 8], 0);
    let device = Device { multiprocessors: 4, shared_per_block_optin: 227 << 10, capability: (9, 0) };
    let (node, gemm) = (41, way.gemm);
    let mut call = Call {
        sizes: &sizes,
        inputs: &sources,
        outputs: &places,
        scratch: 0,
        step: step.address(),
        ticks: true,
        fault: fault.address(),
        node,
        device,
        gemm,
        whole: way.whole,
    };
    let bytes = scratch_bytes(&attrs, &call);
    let mut scratch = Buffer::input(&vec![0xFF; usize::try_from(bytes).expect("a size")], 0);
    call.scratch = scratch.address();
    let steps = launches(&attrs, &call);
    for _ in 0..case.attrs.get("steps").map_or(1, |_| case.dim("steps")) {
        super::run(&steps, way.descending)?;
    }

    let buffers = given.iter().flatten().chain(&made).chain([&step, &fault, &scratch]);
    if !buffers.into_iter().all(Buffer::is_guarded) {
        return Err("something beside the operands was written".into());
    }
    let mut written: Vec<(String, Data)> =
        made.iter().zip(&outputs).map(|(buffer, output)| (output.name.clone(), data(&output.dtype, buffer.bytes()))).collect();
    for (tensor, buffer) in inputs.iter().zip(&given) {
        let (Some(tensor), Some(buffer)) = (tensor, buffer) else { continue };
        if case.updates.contains(&tensor.name) {
            written.push((tensor.name.clone(), data(tensor.dtype(), buffer.bytes())));
        } else if tensor.bytes() != buffer.bytes() {
            return Err(format!("input {} was written", tensor.name));
        }
    }
    let Data::I32(words) = data("i32", fault.bytes()) else { unreachable!("data gives what it is asked for") };
    let fault = (words[0] == node as i32 + 1).then_some(words[1]);
    Ok(Ran { written, fault })
}

fn dtype(name: &str) -> DType {
    DType::from_name(name).expect("a dtype")
}

fn size(name: &str) -> usize {
    statespace_ops::cuda::size(dtype(name))
}

/// What an output holds before it is written: a NaN that no arithmetic makes, or [`UNWRITTEN`].
pub fn unwritten(dtype: &str, count: usize) -> Vec<u8> {
    match dtype {
        "f32" => 0xFFDE_AD01u32.to_le_bytes().repeat(count),
        "bf16" | "f16" => 0xFFDEu16.to_le_bytes().repeat(count),
        _ => UNWRITTEN.to_le_bytes().repeat(count),
    }
}

fn sizes(case: &Case) -> Sizes {
    let dim = |name: &str| case.symbols.get(name).map_or(0, |&size| size as usize);
    Sizes { b: dim("b"), l: dim("l"), d: dim("d"), e: dim("e"), k: dim("k"), m: dim("m"), n: dim("n"), v: dim("v"), w: dim("w") }
}

fn attrs(case: &Case) -> Attrs {
    let number = |name: &str| u32::try_from(case.dim(name)).expect("an attribute");
    let compute = || *Compute::ALL.iter().find(|compute| case.attrs["compute"] == compute.name()).expect("compute");
    match case.op.as_str() {
        "embed" => Attrs::Embed,
        "rmsnorm" => Attrs::Rmsnorm(RmsnormAttrs { eps: case.attrs["eps"].as_f64().expect("eps") as f32 }),
        "linear" => Attrs::Linear(LinearAttrs { compute: compute() }),
        "conv1d_silu" => Attrs::Conv1dSilu,
        "scan" => Attrs::Scan(ScanAttrs { softplus: case.attrs["softplus"].as_bool().expect("softplus"), groups: number("groups") }),
        "add" => Attrs::Add,
        "cast" => Attrs::Cast(CastAttrs { to: *To::ALL.iter().find(|to| case.attrs["to"] == to.name()).expect("to") }),
        "transpose" => Attrs::Transpose,
        "softplus" => Attrs::Softplus,
        "sum_rows" => Attrs::SumRows,
        "linear_cross_entropy" => Attrs::LinearCrossEntropy(LinearCrossEntropyAttrs { vocab: number("vocab"), compute: compute() }),
        "sample" => Attrs::Sample(SampleAttrs { vocab: number("vocab"), steps: number("steps") }),
        other => panic!("attributes of {other}"),
    }
}
