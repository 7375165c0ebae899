//! Plans written by hand: one buffer after the other, no byte used twice but in place.

use serde_json::{Value, json};
use statespace_engine::{DType, info};

/// A plan in the making.
#[derive(Default)]
pub struct Build {
    buffers: Vec<Value>,
    nodes: Vec<Value>,
    weights: Vec<Value>,
    named: [serde_json::Map<String, Value>; 3],
    ends: [usize; 3],
}

pub const SPACES: [&str; 3] = ["temp", "state", "io"];

impl Build {
    /// A placed buffer. States are named by it; inputs and outputs by [`Self::finish`].
    pub fn placed(&mut self, name: &str, space: &str, dtype: &str, shape: &[usize]) -> usize {
        let s = SPACES.iter().position(|s| *s == space).unwrap();
        let size = serde_json::from_value::<DType>(json!(dtype)).unwrap().size() as usize;
        let (offset, bytes) = (self.ends[s], size * shape.iter().product::<usize>());
        self.ends[s] = (offset + bytes).next_multiple_of(256);
        if space == "state" {
            self.named[2].insert(name.to_owned(), json!(self.buffers.len()));
        }
        self.buffer(json!({ "name": name, "dtype": dtype, "shape": shape, "space": space, "offset": offset, "bytes": bytes }))
    }
    /// A buffer of `temp` on the bytes of another.
    pub fn over(&mut self, name: &str, other: usize) -> usize {
        let mut buffer = self.buffers[other].clone();
        buffer["name"] = json!(name);
        self.buffer(buffer)
    }
    /// Columns of a buffer, from one on.
    pub fn columns(&mut self, name: &str, of: usize, from: usize, shape: &[usize]) -> usize {
        let (ld, dtype) = (self.buffers[of]["shape"].as_array().unwrap().last().unwrap().clone(), self.buffers[of]["dtype"].clone());
        self.buffer(json!({ "name": name, "dtype": dtype, "shape": shape, "view": { "of": of, "byte": 4 * from, "ld": ld } }))
    }
    /// A weight.
    pub fn weight(&mut self, key: &str, form: &str, transpose: bool, dtype: &str, shape: &[usize]) -> usize {
        let id = self.buffer(json!({ "name": key, "dtype": dtype, "shape": shape, "space": "weights" }));
        self.weights.push(json!({ "buffer": id, "key": key, "as": form, "transpose": transpose, "dtype": dtype, "shape": shape }));
        id
    }
    fn buffer(&mut self, mut buffer: Value) -> usize {
        buffer["id"] = json!(self.buffers.len());
        self.buffers.push(buffer);
        self.buffers.len() - 1
    }
    /// A node.
    pub fn node(&mut self, op: &str, inputs: &[Option<usize>], outputs: &[usize], attrs: Value) {
        let id = self.nodes.len();
        self.nodes.push(json!({ "id": id, "op": op, "in": inputs, "out": outputs, "attrs": attrs, "at": format!("test {op}") }));
    }
    /// The plan.
    pub fn finish(mut self, inputs: &[(&str, usize)], outputs: &[(&str, usize)]) -> Value {
        for (map, list) in self.named.iter_mut().zip([inputs, outputs]) {
            map.extend(list.iter().map(|(name, id)| ((*name).to_owned(), json!(id))));
        }
        let spaces: serde_json::Map<_, _> = SPACES.iter().zip(self.ends).map(|(name, end)| ((*name).to_owned(), json!(end))).collect();
        let [inputs, outputs, state] = self.named;
        json!({
            "format": 1, "opset": info().opset, "name": "test", "spaces": spaces, "weights": self.weights, "buffers": self.buffers,
            "nodes": self.nodes, "inputs": inputs, "outputs": outputs, "state": state,
        })
    }
}

/// Sizes of a [`block`].
pub struct Sizes {
    pub b: usize,
    pub l: usize,
    pub d: usize,
    pub e: usize,
    pub n: usize,
    pub v: usize,
    pub compute: &'static str,
}

impl Build {
    /// A layer: the residual stream with what it adds, in the place of x.
    fn layer(&mut self, sizes: &Sizes, r: usize, [of_in, of_out]: [&str; 2], at: &str, (x, lens): (usize, Option<usize>)) -> usize {
        let Sizes { b, l, d, e, n, compute, .. } = *sizes;
        let p = self;
        let name = |what: &str| format!("{at}{what}");
        let conv_state = p.placed(&name("conv"), "state", "f32", &[b, 3, e]);
        let ssm = p.placed(&name("ssm"), "state", "f32", &[b, n, e]);
        let norm = p.weight(&name("norm"), "f32", false, "f32", &[d]);
        let (in_proj, out_proj) =
            (p.weight(&name("in"), "stored", false, of_in, &[2 * e, d]), p.weight(&name("out"), "stored", false, of_out, &[d, e]));
        let (taps, bias) = (p.weight(&name("taps"), "f32", true, "f32", &[4, e]), p.weight(&name("bias"), "stored", false, "f32", &[e]));
        let (x_proj, dt_proj) =
            (p.weight(&name("x"), "stored", false, "bf16", &[r + 2 * n, e]), p.weight(&name("dt"), "stored", false, "bf16", &[e, r]));
        let (a, skip) = (p.weight(&name("A_log"), "negexp", true, "f32", &[n, e]), p.weight(&name("D"), "f32", false, "f32", &[e]));
        let attrs = json!({ "compute": compute });
        let h = p.placed(&name("normed"), "temp", "f32", &[b, l, d]);
        p.node("rmsnorm", &[Some(x), Some(norm), lens], &[h], json!({ "eps": 1e-5 }));
        let xz = p.placed(&name("xz"), "temp", "f32", &[b, l, 2 * e]);
        p.node("linear", &[Some(h), Some(in_proj), None, None, lens], &[xz], attrs.clone());
        let (u, z) = (p.columns(&name("u"), xz, 0, &[b, l, e]), p.columns(&name("z"), xz, e, &[b, l, e]));
        let c = p.placed(&name("c"), "temp", "f32", &[b, l, e]);
        p.node("conv1d_silu", &[Some(u), Some(taps), Some(bias), Some(conv_state), lens], &[c], json!({}));
        let xd = p.placed(&name("xd"), "temp", "f32", &[b, l, r + 2 * n]);
        p.node("linear", &[Some(c), Some(x_proj), None, None, lens], &[xd], attrs.clone());
        let [low, bs, cs] =
            [(0, r), (r, n), (r + n, n)].map(|(from, width)| p.columns(&name(&format!("xd{from}")), xd, from, &[b, l, width]));
        let dt = p.placed(&name("delta"), "temp", "f32", &[b, l, e]);
        p.node("linear", &[Some(low), Some(dt_proj), Some(bias), None, lens], &[dt], attrs.clone());
        let y = p.over(&name("y"), dt);
        let operands = [Some(c), Some(dt), Some(a), Some(bs), Some(cs), Some(skip), Some(z), None, Some(ssm), lens];
        p.node("scan", &operands, &[y], json!({ "softplus": true, "groups": 1 }));
        let sum = p.over(&name("r"), x);
        p.node("linear", &[Some(y), Some(out_proj), None, Some(x), lens], &[sum], attrs);
        sum
    }
}

/// A layer of a model with everything around it: ids in, losses out. Large enough for several threads, if the sizes are.
pub fn block(sizes: &Sizes) -> Value {
    block_of(sizes, 2, ["f32", "f16"])
}

/// The same with a rank of Δ and types of in_proj and out_proj.
pub fn block_of(sizes: &Sizes, r: usize, [of_in, of_out]: [&str; 2]) -> Value {
    let Sizes { b, l, d, v, compute, .. } = *sizes;
    let mut p = Build::default();
    let lens = Some(p.placed("lens", "state", "i32", &[b]));
    let pool = p.placed("pool", "state", "f32", &[b, d]);
    let (tokens, targets) = (p.placed("tokens", "io", "i32", &[b, l]), p.placed("targets", "io", "i32", &[b, l]));
    let table = p.weight("table", "stored", false, "bf16", &[v, d]);
    let f_norm = p.weight("norm_f", "stored", false, "f32", &[d]);
    let x = p.placed("embedded", "temp", "f32", &[b, l, d]);
    p.node("embed", &[Some(tokens), Some(table), lens], &[x], json!({}));
    let r = p.layer(sizes, r, [of_in, of_out], "", (x, lens));
    let last = p.over("last", r);
    p.node("rmsnorm", &[Some(r), Some(f_norm), lens], &[last], json!({ "eps": 1e-5 }));
    p.node("sum_rows", &[Some(last), Some(pool), lens], &[], json!({}));
    let nll = p.placed("losses", "io", "f32", &[b, l]);
    p.node("linear_cross_entropy", &[Some(last), Some(table), Some(targets), lens], &[nll], json!({ "vocab": v - 1, "compute": compute }));
    p.finish(&[("tokens", tokens), ("targets", targets)], &[("nll", nll)])
}

/// Layers of bf16 weights for one token, between an embedding and a head: ids in, logits out.
pub fn stack(sizes: &Sizes, r: usize, layers: usize) -> Value {
    let Sizes { b, l, d, v, compute, .. } = *sizes;
    let mut p = Build::default();
    let lens = Some(p.placed("lens", "state", "i32", &[b]));
    let tokens = p.placed("tokens", "io", "i32", &[b, l]);
    let table = p.weight("table", "stored", false, "bf16", &[v, d]);
    let f_norm = p.weight("norm_f", "stored", false, "f32", &[d]);
    let mut x = p.placed("embedded", "temp", "f32", &[b, l, d]);
    p.node("embed", &[Some(tokens), Some(table), lens], &[x], json!({}));
    for layer in 0..layers {
        x = p.layer(sizes, r, ["bf16"; 2], &format!("{layer}."), (x, lens));
    }
    let (last, logits) = (p.placed("last", "temp", "f32", &[b, l, d]), p.placed("logits", "io", "f32", &[b, l, v]));
    p.node("rmsnorm", &[Some(x), Some(f_norm), lens], &[last], json!({ "eps": 1e-5 }));
    p.node("linear", &[Some(last), Some(table), None, None, lens], &[logits], json!({ "compute": compute }));
    p.finish(&[("tokens", tokens)], &[("logits", logits)])
}

/// One node that normalizes `x` [1, l, d] into `y`, without weights and state.
pub fn norm(l: usize, d: usize) -> Value {
    let mut p = Build::default();
    let (x, y) = (p.placed("in", "io", "f32", &[1, l, d]), p.placed("out", "io", "f32", &[1, l, d]));
    p.node("rmsnorm", &[Some(x), None, None], &[y], json!({ "eps": 1e-5 }));
    p.finish(&[("x", x)], &[("y", y)])
}

/// Sums the rows of `x` [1, l, d] into the state `acc` of that name; `spare` floats of state lie before it.
pub fn sum(l: usize, d: usize, acc: &str, spare: usize) -> Value {
    let mut p = Build::default();
    p.ends[1] = (4 * spare).next_multiple_of(256);
    let (x, acc) = (p.placed("in", "io", "f32", &[1, l, d]), p.placed(acc, "state", "f32", &[1, d]));
    p.node("sum_rows", &[Some(x), Some(acc), None], &[], json!({}));
    p.finish(&[("x", x)], &[])
}

/// One product of `x` [1, l, k] with the bf16 weight `w` (m, k) into `y`, or the losses `y` of `targets` in it.
pub fn product(op: &str, l: usize, k: usize, m: usize) -> Value {
    let mut p = Build::default();
    let (x, w) = (p.placed("in", "io", "f32", &[1, l, k]), p.weight("w", "stored", false, "bf16", &[m, k]));
    if op == "linear" {
        let y = p.placed("out", "io", "f32", &[1, l, m]);
        p.node(op, &[Some(x), Some(w), None, None, None], &[y], json!({ "compute": "f32" }));
        return p.finish(&[("x", x)], &[("y", y)]);
    }
    let (targets, y) = (p.placed("ids", "io", "i32", &[1, l]), p.placed("out", "io", "f32", &[1, l]));
    p.node(op, &[Some(x), Some(w), Some(targets), None], &[y], json!({ "vocab": m, "compute": "f32" }));
    p.finish(&[("x", x), ("targets", targets)], &[("y", y)])
}
