//! `y[b,j,i] = x[b,i,j]`.

/// The definition, in f64: `x` (b, l, d), `y` (b, d, l).
pub fn reference(b: usize, l: usize, d: usize, x: &[f64], y: &mut [f64]) {
    for batch in 0..b {
        for i in 0..l {
            for j in 0..d {
                y[(batch * d + j) * l + i] = x[(batch * l + i) * d + j];
            }
        }
    }
}
