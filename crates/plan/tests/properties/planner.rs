//! Random valid plans: a chain of layers over a few values, placed by a small greedy planner that shares no code with the crate.

use serde_json::{Value, json};
use statespace_plan::OPSET;

/// Choices that proptest makes and shrinks.
pub struct Tape<'a>(pub &'a [u32], pub usize);

impl Tape<'_> {
    /// A number below `n`; 0 once the tape is used up.
    pub fn pick(&mut self, n: usize) -> usize {
        self.1 += 1;
        self.0.get(self.1 - 1).map_or(0, |v| *v as usize % n.max(1))
    }
    pub fn flip(&mut self) -> bool {
        self.pick(2) == 1
    }
}

#[derive(Clone)]
struct Root {
    id: usize,
    space: &'static str,
    bytes: usize,
    first: usize,
    last: usize,
    /// Buffer whose bytes this one takes in place.
    takes: Option<usize>,
}

/// A value [b, l, width]; `whole` if it is a placed buffer.
#[derive(Clone)]
struct Val {
    id: usize,
    width: usize,
    root: usize,
    whole: bool,
    read: bool,
}

struct Builder<'t, 'a> {
    tape: &'t mut Tape<'a>,
    b: usize,
    l: usize,
    buffers: Vec<Value>,
    roots: Vec<Root>,
    weights: Vec<Value>,
    nodes: Vec<Value>,
    state: Vec<usize>,
    vals: Vec<Val>,
    lens: Option<usize>,
}

impl Builder<'_, '_> {
    fn placed(&mut self, shape: &[usize], dtype: &str, space: &'static str) -> usize {
        let id = self.buffers.len();
        let bytes = shape.iter().product::<usize>() * 4;
        self.buffers.push(
            json!({ "id": id, "name": format!("b{id}"), "dtype": dtype, "shape": shape, "space": space, "offset": 0, "bytes": bytes }),
        );
        self.roots.push(Root { id, space, bytes, first: usize::MAX, last: 0, takes: None });
        if space == "state" {
            self.state.push(id);
        }
        id
    }
    fn weight(&mut self, shape: &[usize], dtype: &str) -> usize {
        let id = self.buffers.len();
        self.buffers.push(json!({ "id": id, "name": format!("b{id}"), "dtype": dtype, "shape": shape, "space": "weights" }));
        self.weights.push(json!({ "buffer": id, "key": format!("w{id}"), "as": "stored", "dtype": dtype, "shape": shape }));
        id
    }
    fn view(&mut self, shape: &[usize], of: usize, byte: usize, ld: Option<usize>) -> usize {
        let id = self.buffers.len();
        let mut view = json!({ "of": of, "byte": byte });
        if let Some(ld) = ld {
            view["ld"] = json!(ld);
        }
        self.buffers.push(json!({ "id": id, "name": format!("b{id}"), "dtype": "f32", "shape": shape, "view": view }));
        id
    }
    fn root(&mut self, id: usize) -> &mut Root {
        self.roots.iter_mut().find(|r| r.id == id).unwrap()
    }
    /// Appends a node; `reads` and `writes` are roots.
    fn node(&mut self, op: &str, inputs: Vec<Option<usize>>, outputs: &[usize], attrs: Value, reads: &[usize], writes: &[usize]) {
        let k = self.nodes.len();
        for r in reads.iter().chain(writes) {
            let root = self.root(*r);
            root.first = root.first.min(k);
            root.last = k;
        }
        self.nodes.push(json!({ "id": k, "op": op, "in": inputs, "out": outputs, "attrs": attrs, "at": format!("layer {k}") }));
    }
    fn value(&mut self, width: usize) -> usize {
        let id = self.placed(&[self.b, self.l, width], "f32", "temp");
        self.vals.push(Val { id, width, root: id, whole: true, read: false });
        id
    }
    /// A value to read: any, or only whole ones, or only those of a width.
    fn take(&mut self, whole: bool, width: Option<usize>) -> Option<Val> {
        let fit: Vec<usize> =
            (0..self.vals.len()).filter(|i| (!whole || self.vals[*i].whole) && width.is_none_or(|w| self.vals[*i].width == w)).collect();
        if fit.is_empty() {
            return None;
        }
        let last = fit.len() - 1;
        let i = fit[last - self.tape.pick(fit.len().min(4))];
        self.vals[i].read = true;
        Some(self.vals[i].clone())
    }
    fn unary(&mut self, op: &str) {
        let x = self.take(false, None).unwrap();
        let norm = op == "rmsnorm";
        let mut inputs = vec![Some(x.id)];
        if norm {
            let scale = self.tape.flip().then(|| self.weight(&[x.width], "f32"));
            inputs.push(scale);
        }
        inputs.push(self.lens);
        let y = self.value(x.width);
        self.node(op, inputs, &[y], if norm { json!({ "eps": 1e-5 }) } else { json!({}) }, &[x.root], &[y]);
    }
    fn add(&mut self) {
        let a = self.take(true, None).unwrap();
        let c = self.take(true, Some(a.width)).unwrap();
        let y = self.value(a.width);
        self.node("add", vec![Some(a.id), Some(c.id), self.lens], &[y], json!({}), &[a.root, c.root], &[y]);
    }
    fn linear(&mut self, split: bool) {
        let x = self.take(false, None).unwrap();
        let m = if self.tape.flip() { x.width } else { 1 + self.tape.pick(24) };
        let m = if split { 2 * m } else { m };
        let dtype = ["f32", "bf16", "f16"][self.tape.pick(3)];
        let w = self.weight(&[m, x.width], dtype);
        let bias = self.tape.flip().then(|| self.weight(&[m], "f32"));
        let residual = if self.tape.flip() { self.take(true, Some(m)) } else { None };
        let mut reads = vec![x.root];
        reads.extend(residual.as_ref().map(|r| r.root));
        let inputs = vec![Some(x.id), Some(w), bias, residual.map(|r| r.id), self.lens];
        let y = self.value(m);
        self.node("linear", inputs, &[y], json!({ "compute": "f32" }), &reads, &[y]);
        if split {
            self.vals.pop();
            for half in 0..2 {
                let id = self.view(&[self.b, self.l, m / 2], y, half * m / 2 * 4, Some(m));
                self.vals.push(Val { id, width: m / 2, root: y, whole: false, read: false });
            }
        }
    }
    fn conv(&mut self) {
        let x = self.take(false, None).unwrap();
        let w = 1 + self.tape.pick(4);
        let weight = self.weight(&[w, x.width], "f32");
        let state = self.placed(&[self.b, w - 1, x.width], "f32", "state");
        let y = self.value(x.width);
        self.node("conv1d_silu", vec![Some(x.id), Some(weight), None, Some(state), self.lens], &[y], json!({}), &[x.root], &[y]);
    }
    fn scan(&mut self) {
        let u = self.take(false, None).unwrap();
        let dt = self.take(false, Some(u.width)).unwrap();
        let bc = self.take(false, None).unwrap();
        let gate = if self.tape.flip() { self.take(false, Some(u.width)) } else { None };
        let a = self.weight(&[bc.width, u.width], "f32");
        let state = self.placed(&[self.b, bc.width, u.width], "f32", "state");
        let y = self.value(u.width);
        let mut reads = vec![u.root, dt.root, bc.root];
        reads.extend(gate.as_ref().map(|z| z.root));
        let inputs =
            vec![Some(u.id), Some(dt.id), Some(a), Some(bc.id), Some(bc.id), None, gate.map(|z| z.id), None, Some(state), self.lens];
        self.node("scan", inputs, &[y], json!({ "softplus": true, "groups": 1 }), &reads, &[y]);
    }
    /// Two nodes write the halves of a parent, which a third sums.
    fn halves(&mut self) {
        let a = self.take(false, None).unwrap();
        let c = self.take(false, Some(a.width)).unwrap();
        let both = self.placed(&[2 * self.b, self.l, a.width], "f32", "temp");
        let half = self.b * self.l * a.width * 4;
        let order = if self.tape.flip() { [0, 1] } else { [1, 0] };
        for (i, x) in order.iter().zip([&a, &c]) {
            let out = self.view(&[self.b, self.l, a.width], both, i * half, None);
            self.node("softplus", vec![Some(x.id), self.lens], &[out], json!({}), &[x.root], &[both]);
        }
        let acc = self.placed(&[2 * self.b, a.width], "f32", "state");
        self.node("sum_rows", vec![Some(both), Some(acc), None], &[], json!({}), &[both], &[]);
    }
    /// Values that nobody read become outputs.
    fn finish(&mut self) -> Vec<usize> {
        let mut outputs = Vec::new();
        for v in self.vals.clone().into_iter().filter(|v| !v.read) {
            if v.whole {
                self.buffers[v.id]["space"] = json!("io");
                self.root(v.id).space = "io";
                outputs.push(v.id);
            } else {
                let y = self.placed(&[self.b, self.l, v.width], "f32", "io");
                self.node("softplus", vec![Some(v.id), self.lens], &[y], json!({}), &[v.root], &[y]);
                outputs.push(y);
            }
        }
        outputs
    }
    /// Takes in place what may be, at random: whole `temp` buffers of equal bytes, the input dying and named once.
    fn inplace(&mut self) {
        for (k, node) in self.nodes.clone().iter().enumerate() {
            let positions: &[usize] = match node["op"].as_str().unwrap() {
                "add" | "scan" => &[0, 1],
                "linear" => &[3],
                "rmsnorm" | "softplus" => &[0],
                _ => &[],
            };
            for i in positions {
                let (Some(x), Some(y)) = (node["in"][*i].as_u64(), node["out"][0].as_u64()) else {
                    continue;
                };
                let (x, y) = (x as usize, y as usize);
                let root_of = |id: usize| self.buffers[id]["view"]["of"].as_u64().map_or(id, |p| p as usize);
                let uses = node["in"].as_array().unwrap().iter().filter(|v| v.as_u64().is_some_and(|v| root_of(v as usize) == x)).count();
                let find = |id: usize| self.roots.iter().find(|r| r.id == id).cloned();
                let (Some(a), Some(c)) = (find(x), find(y)) else {
                    continue;
                };
                let fits = uses == 1
                    && a.space == "temp"
                    && c.space == "temp"
                    && a.bytes == c.bytes
                    && a.last == k
                    && c.first == k
                    && c.takes.is_none();
                if fits && self.tape.pick(4) != 0 {
                    self.root(y).takes = Some(x);
                }
            }
        }
    }
    /// First fit, in order of id: the lowest offset where no buffer of intersecting life lies. Returns the sizes of the spaces.
    fn place(&mut self) -> Value {
        let mut ends = json!({ "temp": 0, "state": 0, "io": 0 });
        let mut done: Vec<(Root, usize)> = Vec::new();
        // A chain of buffers in place is one block from its first life to its last.
        let chain = |root: &Root, roots: &[Root]| {
            let mut ids = vec![root.id];
            let mut last = root.last;
            while let Some(next) = roots.iter().find(|r| r.takes == ids.last().copied()) {
                ids.push(next.id);
                last = next.last;
            }
            (ids, last)
        };
        for root in self.roots.clone().iter().filter(|r| r.takes.is_none()) {
            let (ids, last) = chain(root, &self.roots);
            let block = Root { last, ..root.clone() };
            let together = |o: &Root| o.space == block.space && (block.space != "temp" || o.first <= block.last && block.first <= o.last);
            let mut offset = 256 * if self.tape.pick(8) == 0 { 1 } else { 0 };
            while let Some((o, at)) = done.iter().find(|(o, at)| together(o) && *at < offset + block.bytes && offset < at + o.bytes) {
                offset = (at + o.bytes).next_multiple_of(256);
            }
            for id in ids {
                self.buffers[id]["offset"] = json!(offset);
            }
            let end = (offset + block.bytes).next_multiple_of(256) as u64;
            ends[block.space] = json!(ends[block.space].as_u64().unwrap().max(end));
            done.push((block, offset));
        }
        ends
    }
}

/// A random plan that must be valid.
pub fn plan(tape: &mut Tape<'_>) -> Value {
    let (b, l) = (1 + tape.pick(2), 1 + tape.pick(5));
    let mut p =
        Builder { tape, b, l, buffers: vec![], roots: vec![], weights: vec![], nodes: vec![], state: vec![], vals: vec![], lens: None };
    let tokens = p.placed(&[b, l], "i32", "io");
    if p.tape.flip() {
        p.lens = Some(p.placed(&[b], "i32", "state"));
    }
    let d = 1 + p.tape.pick(40);
    let table = p.weight(&[11, d], "bf16");
    let x = p.value(d);
    p.node("embed", vec![Some(tokens), Some(table), p.lens], &[x], json!({}), &[], &[x]);
    for _ in 0..1 + p.tape.pick(14) {
        match p.tape.pick(9) {
            0 => p.unary("rmsnorm"),
            1 => p.unary("softplus"),
            2 | 3 => p.add(),
            4 => p.linear(false),
            5 => p.linear(true),
            6 => p.conv(),
            7 => p.scan(),
            _ => p.halves(),
        }
    }
    let outputs = p.finish();
    p.inplace();
    let spaces = p.place();
    let named = |ids: &[usize]| Value::Object(ids.iter().map(|id| (format!("n{id}"), json!(id))).collect());
    json!({
        "format": 1, "opset": OPSET, "name": "random", "spaces": spaces, "weights": p.weights, "buffers": p.buffers, "nodes": p.nodes,
        "inputs": { "tokens": tokens }, "outputs": named(&outputs), "state": named(&p.state),
    })
}
