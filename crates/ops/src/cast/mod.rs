//! `y = x` in another floating type; narrowing rounds to nearest, ties to even.

use half::{bf16, f16};

use crate::rows::{Mat, Rows};

/// The type cast to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// 32-bit float.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    F16,
}

/// The definition: `x` (b, l, d) holds values of a stored type, `y` (b, l, d) those of type `to`, both widened to f64.
pub fn reference(rows: Rows, d: usize, x: Mat<f64>, to: To, y: &mut [f64]) {
    for r in rows.iter() {
        for c in 0..d {
            // Every stored type fits an f32, so the narrowing below is the only rounding.
            let v = x.row(r, d)[c] as f32;
            y[r * d + c] = match to {
                To::F32 => f64::from(v),
                To::Bf16 => f64::from(bf16::from_f32(v)),
                To::F16 => f64::from(f16::from_f32(v)),
            };
        }
    }
}
