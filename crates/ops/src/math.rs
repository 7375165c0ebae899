//! The scalar functions of the references, in f64.

/// `log(1 + exp(s))`; above 20 it is `s` to within 2e-9 and taken as such, as every implementation of the family does.
pub fn softplus(s: f64) -> f64 {
    if s <= 20.0 { s.exp().ln_1p() } else { s }
}

/// `x · σ(x)`.
pub fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}
