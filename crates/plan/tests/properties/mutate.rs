//! One change to a plan.

use crate::planner::Tape;
use serde_json::{Value, json};

fn len(v: &Value) -> usize {
    v.as_array().map_or(0, Vec::len)
}

fn renumber(list: &mut Value) {
    for (i, v) in list.as_array_mut().unwrap().iter_mut().enumerate() {
        v["id"] = json!(i);
    }
}

/// Another number near or far; numbers of plans are places, lengths and ids.
fn number(tape: &mut Tape<'_>, v: u64) -> Value {
    let steps = [1, 2, 4, 8, 64, 256, 512, 1024];
    let step = steps[tape.pick(steps.len())];
    match tape.pick(6) {
        0 => json!(v.saturating_sub(step)),
        1 => json!(0),
        2 => json!([u64::MAX, u64::MAX - 255, 1 << 53, 1 << 63][tape.pick(4)]),
        _ => json!(v.saturating_add(step)),
    }
}

/// Changes one thing and says which.
pub fn mutate(plan: &mut Value, tape: &mut Tape<'_>) -> String {
    let (buffers, nodes) = (len(&plan["buffers"]), len(&plan["nodes"]));
    if buffers == 0 || nodes == 0 {
        return "nothing left".into();
    }
    let b = tape.pick(buffers);
    let k = tape.pick(nodes);
    let other = json!(tape.pick(buffers));
    match tape.pick(17) {
        0 | 1 => {
            // Another place, inside the space more often than not.
            let old = plan["buffers"][b]["offset"].as_u64().unwrap_or(0);
            let room = plan["spaces"]["temp"].as_u64().unwrap() / 256;
            let new = if tape.pick(4) == 0 { number(tape, old) } else { json!(256 * tape.pick(room as usize)) };
            plan["buffers"][b]["offset"] = new.clone();
            format!("offset of {b}: {old} to {new}")
        }
        2 => {
            let field = ["bytes", "id"][tape.pick(2)];
            let old = plan["buffers"][b][field].as_u64().unwrap_or(0);
            plan["buffers"][b][field] = number(tape, old);
            format!("{field} of {b}")
        }
        3 => {
            let field = ["byte", "ld", "of"][tape.pick(3)];
            let views: Vec<usize> = (0..buffers).filter(|i| plan["buffers"][*i].get("view").is_some()).collect();
            let Some(v) = views.get(tape.pick(views.len())) else {
                return "nothing".into();
            };
            let view = &mut plan["buffers"][*v]["view"];
            let old = view[field].as_u64().unwrap_or(0);
            view[field] = if field == "of" { other } else { number(tape, old) };
            format!("view {field} of {v}")
        }
        4 | 5 => {
            let i = tape.pick(len(&plan["nodes"][k]["in"]));
            plan["nodes"][k]["in"][i] = if tape.pick(5) == 0 { Value::Null } else { other };
            format!("input {i} of node {k}")
        }
        6 => {
            let outs = len(&plan["nodes"][k]["out"]);
            if outs > 0 {
                plan["nodes"][k]["out"][0] = other;
            }
            format!("output of node {k}")
        }
        7 => {
            let j = tape.pick(nodes);
            plan["nodes"].as_array_mut().unwrap().swap(k, j);
            renumber(&mut plan["nodes"]);
            format!("nodes {k} and {j} swapped")
        }
        8 => {
            plan["buffers"][b]["dtype"] = json!(["f32", "bf16", "f16", "i32", "u32", "u8"][tape.pick(6)]);
            format!("dtype of {b}")
        }
        9 => {
            let i = tape.pick(len(&plan["buffers"][b]["shape"]));
            let old = plan["buffers"][b]["shape"][i].as_u64().unwrap_or(0);
            plan["buffers"][b]["shape"][i] = number(tape, old);
            format!("shape of {b}")
        }
        10 => {
            let name = ["eps", "compute", "softplus", "groups", "beta"][tape.pick(5)];
            plan["nodes"][k]["attrs"][name] =
                [json!(2), json!(-1), json!("bf16"), json!(false), json!(1e-3), json!(1e99)][tape.pick(6)].clone();
            format!("attribute {name} of node {k}")
        }
        11 => {
            plan["nodes"].as_array_mut().unwrap().remove(k);
            renumber(&mut plan["nodes"]);
            format!("node {k} removed")
        }
        12 => {
            plan["buffers"].as_array_mut().unwrap().remove(b);
            renumber(&mut plan["buffers"]);
            let shift = |v: &mut Value| {
                if let Some(id) = v.as_u64() {
                    *v = json!(if id as usize > b { id - 1 } else { id });
                }
            };
            plan["buffers"]
                .as_array_mut()
                .unwrap()
                .iter_mut()
                .filter(|b| b.get("view").is_some())
                .for_each(|b| shift(&mut b["view"]["of"]));
            plan["weights"].as_array_mut().unwrap().iter_mut().for_each(|w| shift(&mut w["buffer"]));
            for n in plan["nodes"].as_array_mut().unwrap() {
                n["in"].as_array_mut().unwrap().iter_mut().for_each(shift);
                n["out"].as_array_mut().unwrap().iter_mut().for_each(shift);
            }
            for list in ["inputs", "outputs", "state"] {
                plan[list].as_object_mut().unwrap().values_mut().for_each(shift);
            }
            format!("buffer {b} removed")
        }
        13 => {
            let list = ["inputs", "outputs", "state"][tape.pick(3)];
            let entries = plan[list].as_object_mut().unwrap();
            let keys: Vec<String> = entries.keys().cloned().collect();
            let Some(key) = keys.get(tape.pick(keys.len())) else {
                return "nothing".into();
            };
            match tape.pick(3) {
                0 => entries.remove(key),
                1 => entries.insert(key.clone(), other),
                _ => entries.insert(format!("{key}x"), other),
            };
            format!("{list}.{key}")
        }
        14 => {
            let space = ["temp", "state", "io"][tape.pick(3)];
            let old = plan["spaces"][space].as_u64().unwrap();
            plan["spaces"][space] = number(tape, old);
            format!("size of {space}")
        }
        15 => {
            plan["buffers"][b]["space"] = json!(["temp", "state", "io", "weights"][tape.pick(4)]);
            format!("space of {b}")
        }
        _ => {
            plan["nodes"][k]["op"] = json!(["add", "softplus", "transpose", "rmsnorm", "cast", "sum_rows", "none"][tape.pick(7)]);
            format!("op of node {k}")
        }
    }
}
