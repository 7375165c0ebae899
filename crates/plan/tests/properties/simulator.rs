//! Runs a plan over a map of bytes: who wrote each byte last? Dumb on purpose, and shares no code with the validator; it reads the op table itself.

use serde_json::Value;
use std::collections::HashMap;

type Safe<T> = Result<T, String>;

fn number(v: &Value, what: &str) -> Safe<usize> {
    v.as_u64().map(|n| n as usize).ok_or_else(|| format!("{what} is no number"))
}

/// Every byte of an operand: (space, absolute byte), in order of the elements.
struct Touch {
    root: usize,
    space: String,
    bytes: Vec<usize>,
    dtype: String,
    shape: Vec<usize>,
    packed: bool,
}

fn touch(plan: &Value, id: usize) -> Safe<Touch> {
    let b = plan["buffers"].get(id).ok_or("no such buffer")?;
    let shape = b["shape"].as_array().ok_or("no shape")?.iter().map(|d| number(d, "axis")).collect::<Safe<Vec<_>>>()?;
    let dtype = b["dtype"].as_str().ok_or("no dtype")?.to_owned();
    let size = match dtype.as_str() {
        "bf16" | "f16" => 2,
        "u8" => 1,
        _ => 4,
    };
    let columns = shape.last().copied().unwrap_or(1);
    let (root, start, ld) = match b.get("view") {
        Some(v) => (number(&v["of"], "of")?, number(&v["byte"], "byte")?, v.get("ld").map_or(Ok(columns), |ld| number(ld, "ld"))?),
        None => (id, 0, columns),
    };
    let parent = &plan["buffers"][root];
    let space = parent["space"].as_str().ok_or("the root has no space")?.to_owned();
    let rows: usize = shape.iter().product::<usize>().checked_div(columns).unwrap_or(0);
    let mut bytes = Vec::new();
    if space != "weights" {
        let (offset, room) = (number(&parent["offset"], "offset")?, number(&parent["bytes"], "bytes")?);
        let end = number(&plan["spaces"][&space], "space")?;
        for at in (0..rows).flat_map(|r| (0..columns * size).map(move |c| start + r * ld * size + c)) {
            if at >= room || offset + at >= end {
                return Err(format!("buffer {id} reaches out of its parent or space"));
            }
            bytes.push(offset + at);
        }
        if (offset + start) % size != 0 {
            return Err(format!("buffer {id} is misaligned"));
        }
    }
    Ok(Touch { root, space, bytes, dtype, shape, packed: ld == columns })
}

/// Value of an expression of the table's shapes.
fn eval(text: &str, dims: &HashMap<String, usize>) -> Safe<usize> {
    if let Some((a, b)) = text.split_once('*') {
        return Ok(eval(a, dims)? * eval(b, dims)?);
    }
    if let Some((a, b)) = text.split_once('-') {
        return eval(a, dims)?.checked_sub(eval(b, dims)?).ok_or_else(|| format!("{text} is negative"));
    }
    text.parse().or_else(|_| dims.get(text).copied().ok_or_else(|| format!("{text} is not bound")))
}

/// Who wrote a byte last.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Owner {
    Nobody,
    /// The caller, or an earlier run: inputs and state.
    Given(usize),
    Node(usize, usize),
}

/// Whether every node finds what it should and destroys nothing that others need.
pub fn simulate(plan: &Value, table: &Value) -> Safe<()> {
    let spaces = plan["spaces"].as_object().ok_or("no spaces")?;
    let mut memory: HashMap<String, Vec<Owner>> = HashMap::new();
    for (name, size) in spaces {
        memory.insert(name.clone(), vec![Owner::Nobody; number(size, "space")?.min(1 << 22)]);
    }
    let ids = |list: &str| plan[list].as_object().into_iter().flatten().map(|(_, id)| number(id, list)).collect::<Safe<Vec<_>>>();
    let mut given = ids("inputs")?;
    given.extend(ids("state")?);
    for id in &given {
        let t = touch(plan, *id)?;
        for at in &t.bytes {
            let owner = &mut memory.get_mut(&t.space).ok_or("no space")?[*at];
            if *owner != Owner::Nobody {
                return Err(format!("given buffers share byte {at}"));
            }
            *owner = Owner::Given(*id);
        }
    }
    // Bytes relative to their root that were written: none twice.
    let mut written: HashMap<(usize, usize), usize> = HashMap::new();
    for (k, node) in plan["nodes"].as_array().ok_or("no nodes")?.iter().enumerate() {
        run(plan, table, k, node, &mut memory, &mut written).map_err(|e| format!("node {k}: {e}"))?;
    }
    for id in ids("outputs")? {
        let t = touch(plan, id)?;
        if !t.bytes.iter().all(|at| matches!(memory[&t.space][*at], Owner::Node(root, _) if root == t.root)) {
            return Err(format!("output {id} is not what was written to it"));
        }
    }
    for id in given {
        let t = touch(plan, id)?;
        let own = |o: Owner| matches!(o, Owner::Given(r) if r == id) || t.space == "state" && matches!(o, Owner::Node(r, _) if r == id);
        if !t.bytes.iter().all(|at| own(memory[&t.space][*at])) {
            return Err(format!("buffer {id} was overwritten"));
        }
    }
    Ok(())
}

fn run(
    plan: &Value,
    table: &Value,
    k: usize,
    node: &Value,
    memory: &mut HashMap<String, Vec<Owner>>,
    written: &mut HashMap<(usize, usize), usize>,
) -> Safe<()> {
    let op = table["ops"].as_array().unwrap().iter().find(|o| o["name"] == node["op"]).ok_or("no such op")?;
    let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
    let names = |v: &Value| list(v).iter().map(|n| n.as_str().unwrap_or("").to_owned()).collect::<Vec<_>>();
    let (rows_in, rows_out, updates) = (list(&op["inputs"]), list(&op["outputs"]), names(&op["updates"]));
    let (ins, outs) = (list(&node["in"]), list(&node["out"]));
    if (rows_in.len(), rows_out.len()) != (ins.len(), outs.len()) {
        return Err("arity".into());
    }
    let mut dims: HashMap<String, usize> = HashMap::new();
    for (name, value) in node["attrs"].as_object().into_iter().flatten() {
        value.as_u64().map(|v| dims.insert(name.clone(), v as usize));
    }
    let mut reads = Vec::new();
    for (row, id) in rows_in.iter().zip(&ins) {
        match id.as_u64() {
            Some(id) => reads.push((row, touch(plan, id as usize)?)),
            None if row["optional"] == true => {}
            None => return Err(format!("{} is missing", row["name"])),
        }
    }
    let writes = rows_out.iter().zip(&outs).map(|(row, id)| Ok((row, touch(plan, number(id, "out")?)?))).collect::<Safe<Vec<_>>>()?;

    for (row, t) in reads.iter().chain(&writes) {
        for (name, value) in names(&row["shape"]).into_iter().zip(&t.shape) {
            if name.chars().all(char::is_alphabetic) {
                dims.entry(name).or_insert(*value);
            }
        }
    }
    for (row, t) in reads.iter().chain(&writes) {
        let shape = names(&row["shape"]).iter().map(|e| eval(e, &dims)).collect::<Safe<Vec<_>>>()?;
        let like = row["like"].as_str().or_else(|| row["dtype"].as_str()?.strip_prefix("like:"));
        let is_like = like.is_none_or(|name| reads.iter().any(|(other, r)| other["name"] == name && r.dtype == t.dtype));
        let listed = row["dtype"] == t.dtype.as_str() || names(&row["dtypes"]).contains(&t.dtype);
        let fits = is_like && (listed || (row.get("dtypes").is_none() && like.is_some()));
        if shape != t.shape || !fits || !(t.packed || row["ld"] == true) {
            return Err(format!("{} has the wrong shape, dtype or rows", row["name"]));
        }
    }

    for (row, t) in &reads {
        if t.space == "weights" {
            continue;
        }
        for at in &t.bytes {
            let fine = match memory[&t.space][*at] {
                Owner::Nobody => false,
                Owner::Given(root) => root == t.root,
                Owner::Node(root, _) => root == t.root && t.space != "state",
            };
            if !fine {
                return Err(format!("{} reads byte {at} of {}, which is {:?}'s", row["name"], t.space, memory[&t.space][*at]));
            }
        }
    }
    let updated = reads.iter().filter(|(row, _)| updates.contains(&row["name"].as_str().unwrap().to_owned()));
    for (row, t) in writes.iter().chain(updated) {
        let update = row.get("dtypes").is_some();
        if t.space == "weights" || update != (t.space == "state") {
            return Err(format!("{} may not be written", row["name"]));
        }
        for (other, r) in &reads {
            let meets = r.space == t.space && r.bytes.iter().any(|at| t.bytes.contains(at));
            let pair = list(&op["inplace"]).iter().any(|p| p[0] == other["name"] && p[1] == row["name"]);
            let same = update && other["name"] == row["name"];
            if meets && !same && !(pair && r.bytes == t.bytes && r.root != t.root) {
                return Err(format!("{} overwrites {} while it is read", row["name"], other["name"]));
            }
        }
        let root = number(&plan["buffers"][t.root]["offset"], "offset")?;
        for at in &t.bytes {
            if written.insert((t.root, at - root), k).is_some() {
                return Err(format!("{} writes byte {at} a second time", row["name"]));
            }
            let owner = &mut memory.get_mut(&t.space).ok_or("no space")?[*at];
            if t.space != "state" && matches!(owner, Owner::Given(_)) {
                return Err(format!("{} overwrites what was given", row["name"]));
            }
            *owner = Owner::Node(t.root, k);
        }
    }
    Ok(())
}
