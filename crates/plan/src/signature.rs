//! The words in which the op table describes an op: dtypes, shapes as expressions over symbols, costs, rules.

use serde::{Deserialize, Serialize};

/// Element type of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// The upper half of an `f32`.
    Bf16,
    /// IEEE 754 binary16.
    F16,
    /// Signed, 32 bits.
    I32,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 8 bits.
    U8,
}

impl DType {
    /// All dtypes.
    pub const ALL: &'static [DType] = &[DType::F32, DType::Bf16, DType::F16, DType::I32, DType::U32, DType::U8];

    /// Bytes of an element.
    pub fn size(self) -> u64 {
        match self {
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::Bf16 | DType::F16 => 2,
            DType::U8 => 1,
        }
    }

    /// As the plan spells it.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::Bf16 => "bf16",
            DType::F16 => "f16",
            DType::I32 => "i32",
            DType::U32 => "u32",
            DType::U8 => "u8",
        }
    }

    /// The dtype of that name.
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.iter().copied().find(|d| d.name() == name)
    }
}

/// Values of an op's symbols, by name: axes of the shapes, integer attributes and, for the cost, element sizes of the tensors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dims(Vec<(&'static str, u64)>);

impl Dims {
    /// The value of a symbol, if it is bound.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
    }

    /// All bound symbols, in the order in which they were bound.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Binds a symbol that is not bound yet; otherwise says whether it has this value.
    pub(crate) fn bind(&mut self, name: &'static str, value: u64) -> bool {
        match self.get(name) {
            Some(bound) => bound == value,
            None => {
                self.0.push((name, value));
                true
            }
        }
    }
}

/// An expression of the op table over [`Dims`].
#[derive(Clone, Copy, Debug)]
pub enum Expr {
    /// A number.
    Int(u64),
    /// A symbol.
    Name(&'static str),
    /// Sum.
    Add(&'static Expr, &'static Expr),
    /// Difference.
    Sub(&'static Expr, &'static Expr),
    /// Product.
    Mul(&'static Expr, &'static Expr),
    /// Remainder.
    Rem(&'static Expr, &'static Expr),
    /// Quotient, rounded up.
    CeilDiv(&'static Expr, &'static Expr),
}

impl Expr {
    /// The value; none if a symbol is missing or the value does not fit.
    pub fn eval(&self, d: &Dims) -> Option<u64> {
        let both = |a: &Expr, b: &Expr| Some((a.eval(d)?, b.eval(d)?));
        match self {
            Expr::Int(v) => Some(*v),
            Expr::Name(n) => d.get(n),
            Expr::Add(a, b) => both(a, b).and_then(|(a, b)| a.checked_add(b)),
            Expr::Sub(a, b) => both(a, b).and_then(|(a, b)| a.checked_sub(b)),
            Expr::Mul(a, b) => both(a, b).and_then(|(a, b)| a.checked_mul(b)),
            Expr::Rem(a, b) => both(a, b).and_then(|(a, b)| a.checked_rem(b)),
            Expr::CeilDiv(a, b) => both(a, b).and_then(|(a, b)| (b != 0).then(|| a.div_ceil(b))),
        }
    }
}

/// An input of an op.
#[derive(Debug)]
pub struct Input {
    /// As the table names it.
    pub name: &'static str,
    /// An expression an axis.
    pub shape: &'static [Expr],
    /// Any of these.
    pub dtypes: &'static [DType],
    /// That of this input, where it is one of `dtypes`.
    pub like: Option<usize>,
    /// May be absent.
    pub optional: bool,
    /// Rows may lie further apart than the last axis is long.
    pub ld: bool,
}

/// An output of an op. Always contiguous.
#[derive(Debug)]
pub struct Output {
    /// As the table names it.
    pub name: &'static str,
    /// An expression an axis.
    pub shape: &'static [Expr],
    /// Fixed, named by an attribute, or an input's.
    pub dtype: OutputType,
}

/// Where the dtype of an output comes from.
#[derive(Clone, Copy, Debug)]
pub enum OutputType {
    /// Always this.
    Is(DType),
    /// What this attribute says.
    Attr(&'static str),
    /// That of this input.
    Like(usize),
}

/// A comparison of a [`Rule`].
#[derive(Clone, Copy, Debug)]
pub enum Cmp {
    /// `>=`
    Ge,
    /// `<=`
    Le,
    /// `==`
    Eq,
}

/// What must hold of the symbols beyond the shapes.
#[derive(Debug)]
pub struct Rule {
    /// As the table says it.
    pub text: &'static str,
    /// Left side.
    pub left: Expr,
    /// Comparison.
    pub cmp: Cmp,
    /// Right side.
    pub right: Expr,
}

impl Rule {
    /// Whether it holds; a side without a value makes it false.
    pub fn holds(&self, d: &Dims) -> bool {
        match (self.left.eval(d), self.right.eval(d), self.cmp) {
            (Some(a), Some(b), Cmp::Ge) => a >= b,
            (Some(a), Some(b), Cmp::Le) => a <= b,
            (Some(a), Some(b), Cmp::Eq) => a == b,
            _ => false,
        }
    }
}

/// A row of the op table.
#[derive(Debug)]
pub struct Signature {
    /// Positional.
    pub inputs: &'static [Input],
    /// Positional.
    pub outputs: &'static [Output],
    /// (input, output) that may lie in the same bytes.
    pub inplace: &'static [(usize, usize)],
    /// Inputs that the op also writes; they are state.
    pub updates: &'static [usize],
    /// What must hold of the symbols beyond the shapes.
    pub requires: &'static [Rule],
    /// Bytes that must move, at least.
    pub bytes: Expr,
    /// Floating-point operations.
    pub flops: Expr,
}
