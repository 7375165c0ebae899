// Written by scripts/gen-ops.ts from spec/ops.json. Do not edit.
use crate::attrs::AttrReader;
use crate::signature::{Cmp, DType, Expr::*, Input, Output, OutputType, Rule, Signature};

/** Hash of the op table; a plan made with another is refused. */
pub const OPSET: &str = "142ddc44a421f877";

/** A row of the op table. */
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /** y\[b,t\] = weight\[tokens\[b,t\]\]; the row is widened to f32. */
    Embed,
    /** y = x / sqrt(mean(x²) + eps) · weight over the last axis; statistics in f32 (arXiv 1910.07467). */
    Rmsnorm,
    /** y = x weightᵀ + bias + residual; weight is (out, in), kept in its stored width and widened to f32 in registers; accumulation in f32. compute "bf16" rounds x (and an f32 weight) to bf16 first. */
    Linear,
    /** Causal depthwise convolution, then SiLU: y\[t\] = silu(bias + Σ_j weight\[j\]·x\[t-(w-1)+j\]); samples before the first come from state (the last w-1 inputs, oldest first), which is left as the last w-1 inputs at lens. */
    Conv1dSilu,
    /** Selective scan (arXiv 2312.00752, algorithm 2): s = dt + dt_bias, Δ = softplus(s) or s; h\[n\] = exp(Δ·A\[n\])·h\[n\] + Δ·B\[n\]·u; y = (Σ_n C\[n\]·h\[n\] + D·u)·silu(z). B and C are shared by the e/groups channels of a group. state is h before the first and, after the run, after the last valid step; channels are innermost. Activations are of one stored type, y too; all arithmetic is in f32. */
    Scan,
    /** y = a + c. */
    Add,
    /** y = x in another floating type; narrowing rounds to nearest, ties to even. */
    Cast,
    /** y\[b,j,i\] = x\[b,i,j\]. */
    Transpose,
    /** y = log1p(exp(x)) for x ≤ 20, else x: the scan's Δ, for looking at it. */
    Softplus,
    /** acc\[b\] += Σ_t x\[b,t\] over the valid rows, in order of t: pooling over any length in constant memory. */
    SumRows,
    /** nll\[b,t\] = logsumexp(logits) − logits\[targets\[b,t\]\], logits = x weightᵀ over the first `vocab` rows (0: all); walks the head in blocks and never holds all logits. */
    LinearCrossEntropy,
    /** Next token of each live row (lens > 0). logprob = log softmax of the raw logits. Then transformers' order: repetition penalty over `seen`, eos suppressed while counter < sampler\[6\], and with sampler\[5\] ≠ 0: temperature, top-k, top-p, min-p, inverse CDF in f64 over ascending ids with Philox4x32-10(key = seed, counter); else the first maximum. Writes tokens, sets the seen bit, bumps the counter, and on an eos id sets lens to 0. Slot `step` of the outputs gets (id, logprob); −1 marks a row with a non-finite logit (nothing is updated), −2 a frozen row. sampler = \[temperature, topK (0 off), topP (≥1 off), minP (0 off), repetitionPenalty, doSample, minCounter, 0\]; rng = \[seed lo, seed hi, counter lo, counter hi\]. */
    Sample,
}

impl Op {
    /** All ops, in the order of the table. */
    pub const ALL: &'static [Op] = &[Op::Embed, Op::Rmsnorm, Op::Linear, Op::Conv1dSilu, Op::Scan, Op::Add, Op::Cast, Op::Transpose, Op::Softplus, Op::SumRows, Op::LinearCrossEntropy, Op::Sample];

    /** As the plan spells it. */
    pub fn name(self) -> &'static str {
        match self {
            Op::Embed => "embed",
            Op::Rmsnorm => "rmsnorm",
            Op::Linear => "linear",
            Op::Conv1dSilu => "conv1d_silu",
            Op::Scan => "scan",
            Op::Add => "add",
            Op::Cast => "cast",
            Op::Transpose => "transpose",
            Op::Softplus => "softplus",
            Op::SumRows => "sum_rows",
            Op::LinearCrossEntropy => "linear_cross_entropy",
            Op::Sample => "sample",
        }
    }

    /** The op of that name. */
    pub fn from_name(name: &str) -> Option<Op> {
        Self::ALL.iter().copied().find(|op| op.name() == name)
    }

    /** What the op takes and gives. */
    pub fn signature(self) -> &'static Signature {
        match self {
            Op::Embed => &EMBED,
            Op::Rmsnorm => &RMSNORM,
            Op::Linear => &LINEAR,
            Op::Conv1dSilu => &CONV1D_SILU,
            Op::Scan => &SCAN,
            Op::Add => &ADD,
            Op::Cast => &CAST,
            Op::Transpose => &TRANSPOSE,
            Op::Softplus => &SOFTPLUS,
            Op::SumRows => &SUM_ROWS,
            Op::LinearCrossEntropy => &LINEAR_CROSS_ENTROPY,
            Op::Sample => &SAMPLE,
        }
    }
}

/** The values of the attribute `compute`. */
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compute {
    /** `f32` */
    F32,
    /** `bf16` */
    Bf16,
}

impl Compute {
    /** All values, in the order of the table. */
    pub const ALL: &'static [Self] = &[Self::F32, Self::Bf16];
    /** As the plan spells it. */
    pub fn name(self) -> &'static str {
        match self { Self::F32 => "f32", Self::Bf16 => "bf16" }
    }
}

/** The values of the attribute `to`. */
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /** `f32` */
    F32,
    /** `bf16` */
    Bf16,
    /** `f16` */
    F16,
}

impl To {
    /** All values, in the order of the table. */
    pub const ALL: &'static [Self] = &[Self::F32, Self::Bf16, Self::F16];
    /** As the plan spells it. */
    pub fn name(self) -> &'static str {
        match self { Self::F32 => "f32", Self::Bf16 => "bf16", Self::F16 => "f16" }
    }
}

/** Attributes of [`Op::Rmsnorm`]. */
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsnormAttrs {
    /** `eps`, `0.00001` unless said otherwise. */
    pub eps: f32,
}

impl Default for RmsnormAttrs {
    fn default() -> Self {
        Self { eps: 0.00001 }
    }
}

/** Attributes of [`Op::Linear`]. */
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearAttrs {
    /** `compute`, `f32` unless said otherwise. */
    pub compute: Compute,
}

impl Default for LinearAttrs {
    fn default() -> Self {
        Self { compute: Compute::F32 }
    }
}

/** Attributes of [`Op::Scan`]. */
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScanAttrs {
    /** `softplus`, `true` unless said otherwise. */
    pub softplus: bool,
    /** `groups`, `1` unless said otherwise. */
    pub groups: u32,
}

impl Default for ScanAttrs {
    fn default() -> Self {
        Self { softplus: true, groups: 1 }
    }
}

/** Attributes of [`Op::Cast`]. */
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CastAttrs {
    /** `to`, `f32` unless said otherwise. */
    pub to: To,
}

impl Default for CastAttrs {
    fn default() -> Self {
        Self { to: To::F32 }
    }
}

/** Attributes of [`Op::LinearCrossEntropy`]. */
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearCrossEntropyAttrs {
    /** `vocab`, `0` unless said otherwise. */
    pub vocab: u32,
    /** `compute`, `f32` unless said otherwise. */
    pub compute: Compute,
}

impl Default for LinearCrossEntropyAttrs {
    fn default() -> Self {
        Self { vocab: 0, compute: Compute::F32 }
    }
}

/** Attributes of [`Op::Sample`]. */
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleAttrs {
    /** `vocab`, `0` unless said otherwise. */
    pub vocab: u32,
    /** `steps`, `8` unless said otherwise. */
    pub steps: u32,
}

impl Default for SampleAttrs {
    fn default() -> Self {
        Self { vocab: 0, steps: 8 }
    }
}

/** The attributes of a node, by op. */
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attrs {
    /** Of [`Op::Embed`]. */
    Embed,
    /** Of [`Op::Rmsnorm`]. */
    Rmsnorm(RmsnormAttrs),
    /** Of [`Op::Linear`]. */
    Linear(LinearAttrs),
    /** Of [`Op::Conv1dSilu`]. */
    Conv1dSilu,
    /** Of [`Op::Scan`]. */
    Scan(ScanAttrs),
    /** Of [`Op::Add`]. */
    Add,
    /** Of [`Op::Cast`]. */
    Cast(CastAttrs),
    /** Of [`Op::Transpose`]. */
    Transpose,
    /** Of [`Op::Softplus`]. */
    Softplus,
    /** Of [`Op::SumRows`]. */
    SumRows,
    /** Of [`Op::LinearCrossEntropy`]. */
    LinearCrossEntropy(LinearCrossEntropyAttrs),
    /** Of [`Op::Sample`]. */
    Sample(SampleAttrs),
}

impl Attrs {
    pub(crate) fn read(op: Op, r: &mut AttrReader<'_>) -> Option<Attrs> {
        Some(match op {
            Op::Embed => Attrs::Embed,
            Op::Rmsnorm => {
                let (eps,) = (r.f32("eps"),);
                Attrs::Rmsnorm(RmsnormAttrs { eps: eps? })
            }
            Op::Linear => {
                let (compute,) = (r.choice("compute", Compute::ALL, Compute::name),);
                Attrs::Linear(LinearAttrs { compute: compute? })
            }
            Op::Conv1dSilu => Attrs::Conv1dSilu,
            Op::Scan => {
                let (softplus, groups,) = (r.bool("softplus"), r.u32("groups"),);
                Attrs::Scan(ScanAttrs { softplus: softplus?, groups: groups? })
            }
            Op::Add => Attrs::Add,
            Op::Cast => {
                let (to,) = (r.choice("to", To::ALL, To::name),);
                Attrs::Cast(CastAttrs { to: to? })
            }
            Op::Transpose => Attrs::Transpose,
            Op::Softplus => Attrs::Softplus,
            Op::SumRows => Attrs::SumRows,
            Op::LinearCrossEntropy => {
                let (vocab, compute,) = (r.u32("vocab"), r.choice("compute", Compute::ALL, Compute::name),);
                Attrs::LinearCrossEntropy(LinearCrossEntropyAttrs { vocab: vocab?, compute: compute? })
            }
            Op::Sample => {
                let (vocab, steps,) = (r.u32("vocab"), r.u32("steps"),);
                Attrs::Sample(SampleAttrs { vocab: vocab?, steps: steps? })
            }
        })
    }

    /** The integer attributes, which shapes may name. */
    pub(crate) fn dims(&self) -> Vec<(&'static str, u64)> {
        match self {
            Attrs::Scan(a) => vec![("groups", u64::from(a.groups))],
            Attrs::LinearCrossEntropy(a) => vec![("vocab", u64::from(a.vocab))],
            Attrs::Sample(a) => vec![("vocab", u64::from(a.vocab)), ("steps", u64::from(a.steps))],
            _ => Vec::new(),
        }
    }

    /** The dtype that the attribute `name` stands for. */
    pub(crate) fn dtype(&self, name: &str) -> Option<DType> {
        match (self, name) {
            (Attrs::Cast(a), "to") => DType::from_name(a.to.name()),
            _ => None,
        }
    }
}

static EMBED: Signature = Signature {
    inputs: &[
        Input { name: "tokens", shape: &[Name("b"), Name("l")], dtypes: &[DType::I32], like: None, optional: false, ld: false },
        Input { name: "weight", shape: &[Name("v"), Name("d")], dtypes: &[DType::F32, DType::Bf16, DType::F16], like: None, optional: false, ld: false },
        Input { name: "lens", shape: &[Name("b")], dtypes: &[DType::I32], like: None, optional: true, ld: false },
    ],
    outputs: &[
        Output { name: "y", shape: &[Name("b"), Name("l"), Name("d")], dtype: OutputType::Is(DType::F32) },
    ],
    inplace: &[],
    updates: &[],
    requires: &[Rule { text: "v >= 1", left: Name("v"), cmp: Cmp::Ge, right: Int(1) }],
    bytes: Add(&Mul(&Mul(&Mul(&Name("b"), &Name("l")), &Name("d")), &Add(&Int(4), &Name("weight"))), &Mul(&Mul(&Name("b"), &Name("l")), &Int(4))),
    flops: Int(0),
};

static RMSNORM: Signature = Signature {
    inputs: &[
        Input { name: "x", shape: &[Name("b"), Name("l"), Name("d")], dtypes: &[DType::F32], like: None, optional: false, ld: true },
        Input { name: "weight", shape: &[Name("d")], dtypes: &[DType::F32], like: None, optional: true, ld: false },
        Input { name: "lens", shape: &[Name("b")], dtypes: &[DType::I32], like: None, optional: true, ld: false },
    ],
    outputs: &[
        Output { name: "y", shape: &[Name("b"), Name("l"), Name("d")], dtype: OutputType::Is(DType::F32) },
    ],
    inplace: &[(0, 0)],
    updates: &[],
    requires: &[],
    bytes: Add(&Mul(&Mul(&Mul(&Int(8), &Name("b")), &Name("l")), &Name("d")), &Mul(&Int(4), &Name("d"))),
    flops: Mul(&Mul(&Mul(&Int(4), &Name("b")), &Name("l")), &Name("d")),
};

static LINEAR: Signature = Signature {
    inputs: &[
        Input { name: "x", shape: &[Name("b"), Name("l"), Name("k")], dtypes: &[DType::F32], like: None, optional: false, ld: true },
        Input { name: "weight", shape: &[Name("m"), Name("k")], dtypes: &[DType::F32, DType::Bf16, DType::F16], like: None, optional: false, ld: false },
        Input { name: "bias", shape: &[Name("m")], dtypes: &[DType::F32], like: None, optional: true, ld: false },
        Input { name: "residual", shape: &[Name("b"), Name("l"), Name("m")], dtypes: &[DType::F32], like: None, optional: true, ld: false },
        Input { name: "lens", shape: &[Name("b")], dtypes: &[DType::I32], like: None, optional: true, ld: false },
    ],
    outputs: &[
        Output { name: "y", shape: &[Name("b"), Name("l"), Name("m")], dtype: OutputType::Is(DType::F32) },
    ],
    inplace: &[(3, 0)],
    updates: &[],
    requires: &[],
    bytes: Add(&Mul(&Mul(&Name("m"), &Name("k")), &Name("weight")), &Mul(&Mul(&Mul(&Int(4), &Name("b")), &Name("l")), &Add(&Name("k"), &Name("m")))),
    flops: Mul(&Mul(&Mul(&Mul(&Int(2), &Name("b")), &Name("l")), &Name("k")), &Name("m")),
};

static CONV1D_SILU: Signature = Signature {
    inputs: &[
        Input { name: "x", shape: &[Name("b"), Name("l"), Name("e")], dtypes: &[DType::F32], like: None, optional: false, ld: true },
        Input { name: "weight", shape: &[Name("w"), Name("e")], dtypes: &[DType::F32], like: None, optional: false, ld: false },
        Input { name: "bias", shape: &[Name("e")], dtypes: &[DType::F32], like: None, optional: true, ld: false },
        Input { name: "state", shape: &[Name("b"), Sub(&Name("w"), &Int(1)), Name("e")], dtypes: &[DType::F32], like: None, optional: false, ld: false },
        Input { name: "lens", shape: &[Name("b")], dtypes: &[DType::I32], like: None, optional: true, ld: false },
    ],
    outputs: &[
        Output { name: "y", shape: &[Name("b"), Name("l"), Name("e")], dtype: OutputType::Is(DType::F32) },
    ],
    inplace: &[],
    updates: &[3],
    requires: &[Rule { text: "w >= 1", left: Name("w"), cmp: Cmp::Ge, right: Int(1) }],
    bytes: Add(&Add(&Mul(&Mul(&Mul(&Int(8), &Name("b")), &Name("l")), &Name("e")), &Mul(&Mul(&Mul(&Int(8), &Name("b")), &Sub(&Name("w"), &Int(1))), &Name("e"))), &Mul(&Mul(&Int(4), &Add(&Name("w"), &Int(1))), &Name("e"))),
    flops: Mul(&Mul(&Mul(&Name("b"), &Name("l")), &Name("e")), &Add(&Mul(&Int(2), &Name("w")), &Int(5))),
};

static SCAN: Signature = Signature {
    inputs: &[
        Input { name: "u", shape: &[Name("b"), Name("l"), Name("e")], dtypes: &[DType::F32, DType::Bf16, DType::F16], like: None, optional: false, ld: true },
        Input { name: "dt", shape: &[Name("b"), Name("l"), Name("e")], dtypes: &[DType::F32, DType::Bf16, DType::F16], like: Some(0), optional: false, ld: true },
        Input { name: "A", shape: &[Name("n"), Name("e")], dtypes: &[DType::F32], like: None, optional: false, ld: false },
        Input { name: "B", shape: &[Name("b"), Name("l"), Mul(&Name("groups"), &Name("n"))], dtypes: &[DType::F32, DType::Bf16, DType::F16], like: Some(0), optional: false, ld: true },
        Input { name: "C", shape: &[Name("b"), Name("l"), Mul(&Name("groups"), &Name("n"))], dtypes: &[DType::F32, DType::Bf16, DType::F16], like: Some(0), optional: false, ld: true },
        Input { name: "D", shape: &[Name("e")], dtypes: &[DType::F32], like: None, optional: true, ld: false },
        Input { name: "z", shape: &[Name("b"), Name("l"), Name("e")], dtypes: &[DType::F32, DType::Bf16, DType::F16], like: Some(0), optional: true, ld: true },
        Input { name: "dt_bias", shape: &[Name("e")], dtypes: &[DType::F32], like: None, optional: true, ld: false },
        Input { name: "state", shape: &[Name("b"), Name("n"), Name("e")], dtypes: &[DType::F32], like: None, optional: false, ld: false },
        Input { name: "lens", shape: &[Name("b")], dtypes: &[DType::I32], like: None, optional: true, ld: false },
    ],
    outputs: &[
        Output { name: "y", shape: &[Name("b"), Name("l"), Name("e")], dtype: OutputType::Like(0) },
    ],
    inplace: &[(0, 0), (1, 0)],
    updates: &[8],
    requires: &[Rule { text: "groups >= 1", left: Name("groups"), cmp: Cmp::Ge, right: Int(1) }, Rule { text: "e % groups == 0", left: Rem(&Name("e"), &Name("groups")), cmp: Cmp::Eq, right: Int(0) }],
    bytes: Add(&Add(&Mul(&Mul(&Mul(&Name("u"), &Name("b")), &Name("l")), &Add(&Mul(&Int(4), &Name("e")), &Mul(&Mul(&Int(2), &Name("groups")), &Name("n")))), &Mul(&Mul(&Mul(&Int(8), &Name("b")), &Name("n")), &Name("e"))), &Mul(&Mul(&Int(4), &Name("n")), &Name("e"))),
    flops: Mul(&Mul(&Mul(&Name("b"), &Name("l")), &Name("e")), &Add(&Mul(&Int(7), &Name("n")), &Int(12))),
};

static ADD: Signature = Signature {
    inputs: &[
        Input { name: "a", shape: &[Name("b"), Name("l"), Name("d")], dtypes: &[DType::F32], like: None, optional: false, ld: false },
        Input { name: "c", shape: &[Name("b"), Name("l"), Name("d")], dtypes: &[DType::F32], like: None, optional: false, ld: false },
        Input { name: "lens", shape: &[Name("b")], dtypes: &[DType::I32], like: None, optional: true, ld: false },
    ],
    outputs: &[
        Output { name: "y", shape: &[Name("b"), Name("l"), Name("d")], dtype: OutputType::Is(DType::F32) },
    ],
    inplace: &[(0, 0), (1, 0)],
    updates: &[],
    requires: &[],
    bytes: Mul(&Mul(&Mul(&Int(12), &Name("b")), &Name("l")), &Name("d")),
    flops: Mul(&Mul(&Name("b"), &Name("l")), &Name("d")),
};

static CAST: Signature = Signature {
    inputs: &[
        Input { name: "x", shape: &[Name("b"), Name("l"), Name("d")], dtypes: &[DType::F32, DType::Bf16, DType::F16], like: None, optional: false, ld: true },
        Input { name: "lens", shape: &[Name("b")], dtypes: &[DType::I32], like: None, optional: true, ld: false },
    ],
    outputs: &[
        Output { name: "y", shape: &[Name("b"), Name("l"), Name("d")], dtype: OutputType::Attr("to") },
    ],
    inplace: &[],
    updates: &[],
    requires: &[],
    bytes: Mul(&Mul(&Mul(&Name("b"), &Name("l")), &Name("d")), &Add(&Name("x"), &Name("y"))),
    flops: Int(0),
};

static TRANSPOSE: Signature = Signature {
    inputs: &[
        Input { name: "x", shape: &[Name("b"), Name("l"), Name("d")], dtypes: &[DType::F32], like: None, optional: false, ld: false },
    ],
    outputs: &[
        Output { name: "y", shape: &[Name("b"), Name("d"), Name("l")], dtype: OutputType::Is(DType::F32) },
    ],
    inplace: &[],
    updates: &[],
    requires: &[],
    bytes: Mul(&Mul(&Mul(&Int(8), &Name("b")), &Name("l")), &Name("d")),
    flops: Int(0),
};

static SOFTPLUS: Signature = Signature {
    inputs: &[
        Input { name: "x", shape: &[Name("b"), Name("l"), Name("d")], dtypes: &[DType::F32], like: None, optional: false, ld: true },
        Input { name: "lens", shape: &[Name("b")], dtypes: &[DType::I32], like: None, optional: true, ld: false },
    ],
    outputs: &[
        Output { name: "y", shape: &[Name("b"), Name("l"), Name("d")], dtype: OutputType::Is(DType::F32) },
    ],
    inplace: &[(0, 0)],
    updates: &[],
    requires: &[],
    bytes: Mul(&Mul(&Mul(&Int(8), &Name("b")), &Name("l")), &Name("d")),
    flops: Mul(&Mul(&Mul(&Int(12), &Name("b")), &Name("l")), &Name("d")),
};

static SUM_ROWS: Signature = Signature {
    inputs: &[
        Input { name: "x", shape: &[Name("b"), Name("l"), Name("d")], dtypes: &[DType::F32], like: None, optional: false, ld: false },
        Input { name: "acc", shape: &[Name("b"), Name("d")], dtypes: &[DType::F32], like: None, optional: false, ld: false },
        Input { name: "lens", shape: &[Name("b")], dtypes: &[DType::I32], like: None, optional: true, ld: false },
    ],
    outputs: &[
    ],
    inplace: &[],
    updates: &[1],
    requires: &[],
    bytes: Add(&Mul(&Mul(&Mul(&Int(4), &Name("b")), &Name("l")), &Name("d")), &Mul(&Mul(&Int(8), &Name("b")), &Name("d"))),
    flops: Mul(&Mul(&Name("b"), &Name("l")), &Name("d")),
};

static LINEAR_CROSS_ENTROPY: Signature = Signature {
    inputs: &[
        Input { name: "x", shape: &[Name("b"), Name("l"), Name("k")], dtypes: &[DType::F32], like: None, optional: false, ld: false },
        Input { name: "weight", shape: &[Name("m"), Name("k")], dtypes: &[DType::F32, DType::Bf16, DType::F16], like: None, optional: false, ld: false },
        Input { name: "targets", shape: &[Name("b"), Name("l")], dtypes: &[DType::I32], like: None, optional: false, ld: false },
        Input { name: "lens", shape: &[Name("b")], dtypes: &[DType::I32], like: None, optional: true, ld: false },
    ],
    outputs: &[
        Output { name: "nll", shape: &[Name("b"), Name("l")], dtype: OutputType::Is(DType::F32) },
    ],
    inplace: &[],
    updates: &[],
    requires: &[Rule { text: "m >= 1", left: Name("m"), cmp: Cmp::Ge, right: Int(1) }, Rule { text: "vocab <= m", left: Name("vocab"), cmp: Cmp::Le, right: Name("m") }],
    bytes: Add(&Mul(&Mul(&Name("m"), &Name("k")), &Name("weight")), &Mul(&Mul(&Mul(&Int(4), &Name("b")), &Name("l")), &Add(&Name("k"), &Int(2)))),
    flops: Mul(&Mul(&Mul(&Name("b"), &Name("l")), &Name("m")), &Add(&Mul(&Int(2), &Name("k")), &Int(4))),
};

static SAMPLE: Signature = Signature {
    inputs: &[
        Input { name: "logits", shape: &[Name("b"), Int(1), Name("v")], dtypes: &[DType::F32], like: None, optional: false, ld: false },
        Input { name: "tokens", shape: &[Name("b"), Int(1)], dtypes: &[DType::I32], like: None, optional: false, ld: false },
        Input { name: "lens", shape: &[Name("b")], dtypes: &[DType::I32], like: None, optional: false, ld: false },
        Input { name: "rng", shape: &[Name("b"), Int(4)], dtypes: &[DType::U32], like: None, optional: false, ld: false },
        Input { name: "sampler", shape: &[Name("b"), Int(8)], dtypes: &[DType::F32], like: None, optional: false, ld: false },
        Input { name: "eos", shape: &[Name("k")], dtypes: &[DType::I32], like: None, optional: false, ld: false },
        Input { name: "seen", shape: &[Name("b"), CeilDiv(&Name("v"), &Int(8))], dtypes: &[DType::U8], like: None, optional: false, ld: false },
    ],
    outputs: &[
        Output { name: "token", shape: &[Name("b"), Name("steps")], dtype: OutputType::Is(DType::I32) },
        Output { name: "logprob", shape: &[Name("b"), Name("steps")], dtype: OutputType::Is(DType::F32) },
    ],
    inplace: &[],
    updates: &[1, 2, 3, 6],
    requires: &[Rule { text: "v >= 1", left: Name("v"), cmp: Cmp::Ge, right: Int(1) }, Rule { text: "vocab <= v", left: Name("vocab"), cmp: Cmp::Le, right: Name("v") }, Rule { text: "steps >= 1", left: Name("steps"), cmp: Cmp::Ge, right: Int(1) }],
    bytes: Mul(&Mul(&Int(4), &Name("b")), &Name("v")),
    flops: Mul(&Mul(&Name("b"), &Name("v")), &Int(8)),
};
