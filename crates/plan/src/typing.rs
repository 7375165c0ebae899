//! Rule 1: shapes, dtypes and attributes of a node are derived again from the op table.

use crate::attrs::AttrReader;
use crate::buffers::Extent;
use crate::issue::{Findings, Issue};
use crate::ops::{Attrs, Op};
use crate::plan::{Buffer, Node, Plan};
use crate::signature::{DType, Dims, Expr, OutputType};

/// What typing finds out about a node.
pub(crate) struct Typed {
    pub(crate) op: Op,
    pub(crate) attrs: Attrs,
    pub(crate) dims: Dims,
}

/// Types a node; notes what is wrong otherwise.
pub(crate) fn typed(plan: &Plan, extents: &[Extent], node: &Node, issues: &mut Findings) -> Option<Typed> {
    let mut good = true;
    let mut refuse = |code, part: String, message: String| {
        good = false;
        issues.push(Issue::at_node(code, node.id, &part, format!("{message} ({} at {})", node.op, node.at)));
    };
    let Some(op) = Op::from_name(&node.op) else {
        refuse("unknown_op", ".op".into(), format!("there is no op {}", node.op));
        return None;
    };
    let sig = op.signature();
    if (node.inputs.len(), node.outputs.len()) != (sig.inputs.len(), sig.outputs.len()) {
        let (takes, gives) = (sig.inputs.len(), sig.outputs.len());
        refuse("arity", "".into(), format!("takes {takes} and gives {gives}, not {} and {}", node.inputs.len(), node.outputs.len()));
        return None;
    }
    let mut reader = AttrReader::new(&node.attrs);
    let attrs = Attrs::read(op, &mut reader);
    for problem in reader.finish() {
        refuse("attribute", ".attrs".into(), problem);
    }
    let attrs = attrs?;

    let dtype_of = |i: usize| node.inputs[i].and_then(|id| plan.buffers.get(id as usize)).map(|buffer| buffer.dtype);
    // (part of the path, name, buffer, expressions) of every operand present.
    let mut operands: Vec<(String, &'static str, &Buffer, &'static [Expr])> = Vec::new();
    let mut wanted: Vec<Vec<DType>> = Vec::new();
    let inputs = sig.inputs.iter().zip(&node.inputs).enumerate();
    let outputs = sig.outputs.iter().zip(&node.outputs).enumerate();
    for (i, (input, id)) in inputs {
        let part = format!(".in[{i}]");
        match id.map(|id| plan.buffers.get(id as usize).ok_or(id)) {
            None if input.optional => {}
            None => refuse("missing_input", part, format!("{} is not optional", input.name)),
            Some(Err(id)) => refuse("unknown_buffer", part, format!("there is no buffer {id}")),
            Some(Ok(b)) => {
                if !input.ld && !extents[b.id as usize].contiguous {
                    refuse("not_contiguous", part.clone(), format!("{} must have adjacent rows; {} has not", input.name, b.name));
                }
                operands.push((part, input.name, b, input.shape));
                let like = input.like.and_then(dtype_of).filter(|dtype| input.dtypes.contains(dtype));
                wanted.push(like.map_or_else(|| input.dtypes.to_vec(), |dtype| vec![dtype]));
            }
        }
    }
    for (i, (output, id)) in outputs {
        let part = format!(".out[{i}]");
        let Some(b) = plan.buffers.get(*id as usize) else {
            refuse("unknown_buffer", part, format!("there is no buffer {id}"));
            continue;
        };
        if !extents[b.id as usize].contiguous {
            refuse("not_contiguous", part.clone(), format!("an output has adjacent rows; {} has not", b.name));
        }
        operands.push((part, output.name, b, output.shape));
        wanted.push(match output.dtype {
            OutputType::Is(d) => vec![d],
            OutputType::Attr(name) => attrs.dtype(name).into_iter().collect(),
            OutputType::Like(i) => dtype_of(i).into_iter().collect(),
        });
    }

    let mut dims = Dims::default();
    for (name, value) in attrs.dims() {
        dims.bind(name, value);
    }
    // Bare symbols first, so that an expression may stand before what binds its symbols.
    for (_, _, b, shape) in &operands {
        for (axis, expr) in shape.iter().enumerate() {
            if let (Expr::Name(symbol), Some(value)) = (expr, b.shape.get(axis)) {
                dims.bind(symbol, *value);
            }
        }
    }
    for ((part, name, b, shape), wanted) in operands.iter().zip(&wanted) {
        if !wanted.contains(&b.dtype) {
            let names: Vec<_> = wanted.iter().map(|d| d.name()).collect();
            refuse("dtype", part.clone(), format!("{name} must be {}; {} is {}", names.join(" or "), b.name, b.dtype.name()));
        }
        let values: Option<Vec<u64>> = shape.iter().map(|e| e.eval(&dims)).collect();
        if values.as_ref() != Some(&b.shape) {
            let must = values.map_or_else(|| format!("{} axes that fit the other operands", shape.len()), |v| format!("{v:?}"));
            refuse("shape", part.clone(), format!("{name} must be {must}; {} is {:?}", b.name, b.shape));
        }
    }
    for rule in sig.requires.iter().filter(|r| !r.holds(&dims)) {
        let values: Vec<_> = dims.iter().map(|(n, v)| format!("{n} = {v}")).collect();
        refuse("constraint", "".into(), format!("{} does not hold for {}", rule.text, values.join(", ")));
    }
    for (_, name, b, _) in &operands {
        dims.bind(name, b.dtype.size());
    }
    good.then_some(Typed { op, attrs, dims })
}
