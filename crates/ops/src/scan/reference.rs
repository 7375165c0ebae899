//! The scan as it is defined: one state at a time, in f64.

use crate::math;
use crate::rows::{Mat, Rows};

/// Operands of [`reference`]; see [`super::Scan`] for what each is.
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    /// Rows; `state` stops at the last valid one.
    pub rows: Rows<'a>,
    /// Channels.
    pub e: usize,
    /// State size.
    pub n: usize,
    /// Groups of channels that share B and C; divides `e`.
    pub groups: usize,
    /// Δ = softplus(s), else Δ = s.
    pub softplus: bool,
    /// (b, l, e).
    pub u: Mat<'a, f64>,
    /// (b, l, e), before bias and softplus.
    pub dt: Mat<'a, f64>,
    /// A, (n, e).
    pub a: &'a [f64],
    /// B, (b, l, groups·n).
    pub b: Mat<'a, f64>,
    /// C, (b, l, groups·n).
    pub c: Mat<'a, f64>,
    /// D, (e).
    pub d: Option<&'a [f64]>,
    /// The gate, (b, l, e).
    pub z: Option<Mat<'a, f64>>,
    /// (e).
    pub dt_bias: Option<&'a [f64]>,
}

/// Runs the recurrence; `state` (b, n, e), `y` (b, l, e).
pub fn reference(op: &Reference, state: &mut [f64], y: &mut [f64]) {
    let Reference { rows, e, n, groups, .. } = *op;
    for batch in 0..rows.b {
        for t in 0..rows.valid(batch) {
            let row = batch * rows.l + t;
            let (b, c) = (op.b.row(row, groups * n), op.c.row(row, groups * n));
            for ch in 0..e {
                let group = ch / (e / groups);
                let u = op.u.row(row, e)[ch];
                let s = op.dt.row(row, e)[ch] + op.dt_bias.map_or(0.0, |bias| bias[ch]);
                let delta = if op.softplus { math::softplus(s) } else { s };
                let mut sum = 0.0;
                for i in 0..n {
                    let h = &mut state[(batch * n + i) * e + ch];
                    *h = (delta * op.a[i * e + ch]).exp() * *h + delta * b[group * n + i] * u;
                    sum += c[group * n + i] * *h;
                }
                let skip = op.d.map_or(0.0, |d| d[ch] * u);
                let gate = op.z.map_or(1.0, |z| math::silu(z.row(row, e)[ch]));
                y[row * e + ch] = (sum + skip) * gate;
            }
        }
    }
}
