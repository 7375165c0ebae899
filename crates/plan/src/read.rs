//! From text to [`Plan`]: strict about form, silent about sense.

use crate::attrs::AttrValue;
use crate::issue::{Findings, Issue};
use crate::plan::{Buffer, Kind, Node, Plan, Space, Spaces, Weight};
use crate::signature::DType;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

/// Bytes of text that a plan may have: far more than the largest model needs.
pub const TEXT_LIMIT: usize = 32 << 20;
/// Bytes of a name, key or source place: they are quoted in messages.
const STRING_LIMIT: usize = 1024;
/// Axes of a shape.
const RANK_LIMIT: usize = 8;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    format: u32,
    opset: String,
    name: String,
    spaces: Spaces,
    weights: Vec<Weight>,
    buffers: Vec<RawBuffer>,
    nodes: Vec<RawNode>,
    #[serde(deserialize_with = "entries")]
    inputs: Vec<(String, u32)>,
    #[serde(deserialize_with = "entries")]
    outputs: Vec<(String, u32)>,
    #[serde(deserialize_with = "entries")]
    state: Vec<(String, u32)>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBuffer {
    id: u32,
    name: String,
    dtype: DType,
    shape: Vec<u64>,
    #[serde(default, deserialize_with = "present")]
    space: Option<RawSpace>,
    #[serde(default, deserialize_with = "present")]
    offset: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    bytes: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    view: Option<RawView>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawSpace {
    Weights,
    Temp,
    State,
    Io,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawView {
    of: u32,
    byte: u64,
    #[serde(default, deserialize_with = "present")]
    ld: Option<u64>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    id: u32,
    op: String,
    #[serde(rename = "in")]
    inputs: Vec<Option<u32>>,
    #[serde(rename = "out")]
    outputs: Vec<u32>,
    #[serde(deserialize_with = "entries")]
    attrs: Vec<(String, AttrValue)>,
    at: String,
}

/// Reads a plan. Makes no sense of it yet: that is [`crate::validate`]'s.
pub fn read(text: &str) -> Result<Plan, Vec<Issue>> {
    if text.len() > TEXT_LIMIT {
        let message = format!("the plan is {} bytes of text; {TEXT_LIMIT} are allowed", text.len());
        return Err(vec![Issue::new("too_long", "", message)]);
    }
    let raw: RawPlan = serde_json::from_str(text).map_err(|e| {
        let path = format!("line {} column {}", e.line(), e.column());
        vec![Issue::new("malformed", path, e.to_string())]
    })?;
    let mut issues = Findings::default();
    lengths(&raw, &mut issues);
    let buffers = raw.buffers.into_iter().enumerate().filter_map(|(i, b)| buffer(i, b, &mut issues)).collect();
    if !issues.is_empty() {
        return Err(issues.into_vec());
    }
    let node = |n: RawNode| Node { id: n.id, op: n.op, inputs: n.inputs, outputs: n.outputs, attrs: n.attrs, at: n.at };
    Ok(Plan {
        format: raw.format,
        opset: raw.opset,
        name: raw.name,
        spaces: raw.spaces,
        weights: raw.weights,
        buffers,
        nodes: raw.nodes.into_iter().map(node).collect(),
        inputs: raw.inputs,
        outputs: raw.outputs,
        state: raw.state,
    })
}

fn lengths(raw: &RawPlan, issues: &mut Findings) {
    let mut string = |path: String, text: &str| {
        if text.len() > STRING_LIMIT {
            issues.push(Issue::new("too_long", path, format!("a string of {} bytes; {STRING_LIMIT} are allowed", text.len())));
        }
    };
    string("name".into(), &raw.name);
    string("opset".into(), &raw.opset);
    for (list, entries) in [("inputs", &raw.inputs), ("outputs", &raw.outputs), ("state", &raw.state)] {
        entries.iter().for_each(|(name, _)| string(list.into(), name));
    }
    for (i, n) in raw.nodes.iter().enumerate() {
        string(format!("nodes[{i}].op"), &n.op);
        string(format!("nodes[{i}].at"), &n.at);
        for (name, value) in &n.attrs {
            string(format!("nodes[{i}].attrs"), name);
            if let AttrValue::Text(text) = value {
                string(format!("nodes[{i}].attrs"), text);
            }
        }
    }
    raw.weights.iter().enumerate().for_each(|(i, w)| string(format!("weights[{i}].key"), &w.key));
    raw.buffers.iter().enumerate().for_each(|(i, b)| string(format!("buffers[{i}].name"), &b.name));
    let shapes = raw.buffers.iter().map(|b| &b.shape).chain(raw.weights.iter().map(|w| &w.shape));
    for shape in shapes.filter(|s| s.len() > RANK_LIMIT) {
        issues.push(Issue::new("too_long", "buffers", format!("a shape of {} axes; {RANK_LIMIT} are allowed", shape.len())));
    }
}

fn buffer(index: usize, raw: RawBuffer, issues: &mut Findings) -> Option<Buffer> {
    let placed = |space, offset, bytes| Kind::Placed { space, offset, bytes };
    let kind = match (raw.space, raw.offset, raw.bytes, raw.view) {
        (Some(RawSpace::Temp), Some(offset), Some(bytes), None) => placed(Space::Temp, offset, bytes),
        (Some(RawSpace::State), Some(offset), Some(bytes), None) => placed(Space::State, offset, bytes),
        (Some(RawSpace::Io), Some(offset), Some(bytes), None) => placed(Space::Io, offset, bytes),
        (Some(RawSpace::Weights), None, None, None) => Kind::Weight,
        (None, None, None, Some(v)) => Kind::View { of: v.of, byte: v.byte, ld: v.ld },
        _ => {
            let message =
                format!("buffer {} must have either space, offset and bytes, or the space weights alone, or a view alone", raw.name);
            issues.push(Issue::new("buffer_kind", format!("buffers[{index}]"), message));
            return None;
        }
    };
    Some(Buffer { id: raw.id, name: raw.name, dtype: raw.dtype, shape: raw.shape, kind })
}

/// A field that may be absent but not null.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// An object as pairs in the order of the text, each key once.
fn entries<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, T)>, D::Error> {
    struct Entries<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
        type Value = Vec<(String, T)>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut seen = HashSet::new();
            let mut pairs = Vec::new();
            while let Some((key, value)) = map.next_entry::<String, T>()? {
                if !seen.insert(key.clone()) {
                    return Err(A::Error::custom(format!("duplicate key `{key}`")));
                }
                pairs.push((key, value));
            }
            Ok(pairs)
        }
    }
    deserializer.deserialize_map(Entries(PhantomData))
}
