//! The op table's test cases as operands (feature `testing`): what parity tests and benches of this workspace run on.
//!
//! [`cases`] gives every row × case × stored dtype; [`Case::inputs`] fills the operands from a seed. Rows at positions ≥ lens and the gaps
//! between pitched rows are NaN, so that a kernel that reads them shows it.

mod expr;
mod fill;
pub mod parity;
mod tensor;

pub use expr::{Symbols, evaluate};
pub use tensor::{Data, Tensor, nmse};

use serde_json::Value;

/// The op table, as committed.
pub const TABLE: &str = include_str!("../../../../spec/ops.json");

/// One case of one row, for one stored dtype.
#[derive(Clone, Debug)]
pub struct Case {
    /// The row's name.
    pub op: String,
    /// For messages: op, case number, dtype.
    pub label: String,
    /// Dimensions, and the attributes that shapes use.
    pub symbols: Symbols,
    /// Every attribute, defaults filled in.
    pub attrs: serde_json::Map<String, Value>,
    /// dtype of the inputs that may have several.
    pub dtype: String,
    /// Pairs (input, output) that may share memory.
    pub inplace: Vec<(String, String)>,
    /// Inputs that the op changes.
    pub updates: Vec<String>,
    row: Value,
    spec: Value,
}

/// An output, before it is computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// As the table calls it.
    pub name: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// As the table spells it.
    pub dtype: String,
}

/// All cases of the table, in its order.
pub fn cases() -> Vec<Case> {
    let table: Value = serde_json::from_str(TABLE).expect("spec/ops.json is JSON");
    let mut all = Vec::new();
    for row in list(&table["ops"]) {
        for (number, spec) in list(&row["cases"]).iter().enumerate() {
            for dtype in row["tol"].as_object().expect("tol").keys() {
                all.push(Case::new(row, number, spec, dtype));
            }
        }
    }
    all
}

/// The cases of one row.
///
/// # Panics
/// When the table has no case of it.
pub fn cases_of(op: &str) -> Vec<Case> {
    let found: Vec<Case> = cases().into_iter().filter(|case| case.op == op).collect();
    assert!(!found.is_empty(), "no case of {op}");
    found
}

/// A case that the table does not have, in its form (`dims`, `lens`, `attrs`, …), of the row's first stored dtype.
///
/// # Panics
/// When the table has no such row.
pub fn own_case(op: &str, spec: &Value) -> Case {
    let table: Value = serde_json::from_str(TABLE).expect("spec/ops.json is JSON");
    let row = list(&table["ops"]).iter().find(|row| row["name"] == op).unwrap_or_else(|| panic!("no op {op}"));
    let dtype = row["tol"].as_object().and_then(|tol| tol.keys().next()).expect("tol");
    Case { label: format!("{op} {spec}"), ..Case::new(row, 0, spec, dtype) }
}

impl Case {
    fn new(row: &Value, number: usize, spec: &Value, dtype: &str) -> Self {
        let op = text(&row["name"]);
        let mut attrs = serde_json::Map::new();
        let mut symbols = Symbols::new();
        for attr in list(&row["attrs"]) {
            let name = text(&attr["name"]);
            let value = spec["attrs"].get(&name).unwrap_or(&attr["default"]).clone();
            symbols.extend(value.as_i64().map(|number| (name.clone(), number)));
            attrs.insert(name, value);
        }
        for (name, size) in spec["dims"].as_object().expect("dims") {
            symbols.insert(name.clone(), size.as_i64().expect("a dimension"));
        }
        Self {
            label: format!("{op} case {number} {dtype}"),
            symbols,
            attrs,
            dtype: dtype.into(),
            inplace: list(&row["inplace"]).iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
            updates: list(&row["updates"]).iter().map(text).collect(),
            row: row.clone(),
            spec: spec.clone(),
            op,
        }
    }

    /// A dimension or numeric attribute.
    ///
    /// # Panics
    /// When the row has no such symbol.
    pub fn dim(&self, name: &str) -> usize {
        self.symbols.get(name).map_or_else(|| panic!("{}: no {name}", self.label), |&size| size as usize)
    }

    /// Bound of the NMSE against the reference of what is written in this type: 0 for integers.
    pub fn tol(&self, dtype: &str) -> f64 {
        self.row["tol"].get(dtype).map_or(0.0, |tol| tol.as_f64().expect("tol"))
    }

    /// Valid positions of each batch row.
    pub fn lens(&self) -> Option<Vec<i32>> {
        self.spec.get("lens").map(|lens| list(lens).iter().map(|len| len.as_i64().expect("a length") as i32).collect())
    }

    /// Outputs with their shapes.
    pub fn outputs(&self) -> Vec<Output> {
        let output = |output: &Value| {
            let dtype = text(&output["dtype"]);
            let dtype = match dtype.split_once(':') {
                Some(("attr", attr)) => text(&self.attrs[attr]),
                Some(_) => self.dtype.clone(),
                None => dtype,
            };
            Output { name: text(&output["name"]), shape: self.shape(&output["shape"]), dtype }
        };
        list(&self.row["outputs"]).iter().map(output).collect()
    }

    /// The table's `bytes` or `flops` of this case; a dtype'd operand's name stands for its element size.
    pub fn cost(&self, what: &str) -> i64 {
        let mut symbols = self.symbols.clone();
        for tensor in self.inputs(0).into_iter().flatten() {
            symbols.entry(tensor.name.clone()).or_insert(size_of_dtype(tensor.dtype()));
        }
        for output in self.outputs() {
            symbols.entry(output.name).or_insert(size_of_dtype(&output.dtype));
        }
        evaluate(&text(&self.row[what]), &symbols)
    }

    /// Operands in the table's order, `None` for an optional one that the case goes without. The same seed gives the same values.
    pub fn inputs(&self, seed: u64) -> Vec<Option<Tensor>> {
        let input = |(number, input): (usize, &Value)| {
            let name = text(&input["name"]);
            let without = self.spec.get("without").is_some_and(|names| list(names).iter().any(|n| text(n) == name));
            let absent = without || (name == "lens" && input["optional"] == true && self.spec.get("lens").is_none());
            (!absent).then(|| fill::tensor(self, input, name, seed ^ (number as u64) << 48))
        };
        list(&self.row["inputs"]).iter().enumerate().map(input).collect()
    }

    fn shape(&self, shape: &Value) -> Vec<usize> {
        list(shape).iter().map(|size| evaluate(&text(size), &self.symbols) as usize).collect()
    }
}

fn size_of_dtype(dtype: &str) -> i64 {
    match dtype {
        "u8" => 1,
        "bf16" | "f16" => 2,
        _ => 4,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_else(|| panic!("a list, not {value}"))
}

fn text(value: &Value) -> String {
    value.as_str().map(str::to_owned).unwrap_or_else(|| panic!("a string, not {value}"))
}
