//! A typed array with a shape and a row pitch, as a test hands it to an op or an engine.

use half::{bf16, f16};

/// Elements, by dtype of the table.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// `f32`
    F32(Vec<f32>),
    /// `bf16`, by bits
    Bf16(Vec<u16>),
    /// `f16`, by bits
    F16(Vec<u16>),
    /// `i32`
    I32(Vec<i32>),
    /// `u32`
    U32(Vec<u32>),
    /// `u8`
    U8(Vec<u8>),
}

impl Data {
    /// The table's name of the element type.
    pub fn dtype(&self) -> &'static str {
        match self {
            Self::F32(_) => "f32",
            Self::Bf16(_) => "bf16",
            Self::F16(_) => "f16",
            Self::I32(_) => "i32",
            Self::U32(_) => "u32",
            Self::U8(_) => "u8",
        }
    }

    /// Elements as f64, exactly.
    pub fn widened(&self) -> Vec<f64> {
        match self {
            Self::F32(x) => x.iter().map(|&v| f64::from(v)).collect(),
            Self::Bf16(x) => x.iter().map(|&v| f64::from(bf16::from_bits(v))).collect(),
            Self::F16(x) => x.iter().map(|&v| f64::from(f16::from_bits(v))).collect(),
            Self::I32(x) => x.iter().map(|&v| f64::from(v)).collect(),
            Self::U32(x) => x.iter().map(|&v| f64::from(v)).collect(),
            Self::U8(x) => x.iter().map(|&v| f64::from(v)).collect(),
        }
    }

    /// Little-endian bytes.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(x) => bytemuck::cast_slice(x).to_vec(),
            Self::Bf16(x) | Self::F16(x) => bytemuck::cast_slice(x).to_vec(),
            Self::I32(x) => bytemuck::cast_slice(x).to_vec(),
            Self::U32(x) => bytemuck::cast_slice(x).to_vec(),
            Self::U8(x) => x.clone(),
        }
    }
}

/// A test operand.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// As the table calls it.
    pub name: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Elements from one row (last axis) to the next; the last dimension unless the case says otherwise.
    pub ld: usize,
    /// `rows × ld` elements; those between the rows are NaN.
    pub data: Data,
}

impl Tensor {
    /// The table's name of the element type.
    pub fn dtype(&self) -> &'static str {
        self.data.dtype()
    }

    /// Last dimension.
    pub fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The same values without gaps between rows.
    pub fn dense(&self) -> Self {
        fn rows<T: Copy>(from: &[T], ld: usize, width: usize) -> Vec<T> {
            from.chunks(ld).flat_map(|row| &row[..width]).copied().collect()
        }
        let (ld, width) = (self.ld, self.width());
        let data = match &self.data {
            Data::F32(x) => Data::F32(rows(x, ld, width)),
            Data::Bf16(x) => Data::Bf16(rows(x, ld, width)),
            Data::F16(x) => Data::F16(rows(x, ld, width)),
            Data::I32(x) => Data::I32(rows(x, ld, width)),
            Data::U32(x) => Data::U32(rows(x, ld, width)),
            Data::U8(x) => Data::U8(rows(x, ld, width)),
        };
        Self { ld: width, data, ..self.clone() }
    }

    /// Elements as f64, laid out as they are.
    pub fn widened(&self) -> Vec<f64> {
        self.data.widened()
    }

    /// The f32 elements.
    ///
    /// # Panics
    /// On another type.
    pub fn f32(&self) -> &[f32] {
        match &self.data {
            Data::F32(x) => x,
            _ => panic!("{} is {}", self.name, self.dtype()),
        }
    }

    /// The i32 elements.
    ///
    /// # Panics
    /// On another type.
    pub fn i32(&self) -> &[i32] {
        match &self.data {
            Data::I32(x) => x,
            _ => panic!("{} is {}", self.name, self.dtype()),
        }
    }

    /// Little-endian bytes, laid out as they are.
    pub fn bytes(&self) -> Vec<u8> {
        self.data.bytes()
    }
}

/// Normalized mean squared error, Σ(x−y)² / Σy²; 0 for equal arrays (NaN equals NaN), infinite where only one is finite.
pub fn nmse(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len());
    let (mut error, mut power) = (0.0, 0.0);
    for (&x, &y) in x.iter().zip(y) {
        if x == y || (x.is_nan() && y.is_nan()) {
            power += if y.is_finite() { y * y } else { 0.0 };
            continue;
        }
        if !(x.is_finite() && y.is_finite()) {
            return f64::INFINITY;
        }
        error += (x - y) * (x - y);
        power += y * y;
    }
    if error == 0.0 { 0.0 } else { error / power }
}
