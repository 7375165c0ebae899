//! Elements of every type from and to f64.

use half::{bf16, f16};
use statespace_plan::DType;

/// Calls `put(index, value)` for every element.
pub(crate) fn widen(dtype: DType, bytes: &[u8], mut put: impl FnMut(usize, f64)) {
    let (ones, twos, fours) = (bytes.iter(), bytes.as_chunks::<2>().0.iter(), bytes.as_chunks::<4>().0.iter());
    match dtype {
        DType::F32 => fours.enumerate().for_each(|(i, b)| put(i, f32::from_le_bytes(*b).into())),
        DType::Bf16 => twos.enumerate().for_each(|(i, b)| put(i, bf16::from_le_bytes(*b).into())),
        DType::F16 => twos.enumerate().for_each(|(i, b)| put(i, f16::from_le_bytes(*b).into())),
        DType::I32 => fours.enumerate().for_each(|(i, b)| put(i, i32::from_le_bytes(*b).into())),
        DType::U32 => fours.enumerate().for_each(|(i, b)| put(i, u32::from_le_bytes(*b).into())),
        DType::U8 => ones.enumerate().for_each(|(i, b)| put(i, (*b).into())),
    }
}

/// The values as elements of a type: floats to nearest, ties to even.
pub(crate) fn narrow(dtype: DType, values: &[f64]) -> Vec<u8> {
    match dtype {
        DType::F32 => values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect(),
        DType::Bf16 => values.iter().flat_map(|v| bf16::from_f64(*v).to_le_bytes()).collect(),
        DType::F16 => values.iter().flat_map(|v| f16::from_f64(*v).to_le_bytes()).collect(),
        DType::I32 => values.iter().flat_map(|v| (*v as i32).to_le_bytes()).collect(),
        DType::U32 => values.iter().flat_map(|v| (*v as u32).to_le_bytes()).collect(),
        DType::U8 => values.iter().map(|v| *v as u8).collect(),
    }
}
