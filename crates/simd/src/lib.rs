//! Vector arithmetic, written once and compiled for each instruction set.
//!
//! A kernel is a [`Kernel`]: a value with its operands and a method `eval` that is generic over an [`Isa`]. [`Level::run`] calls it inside
//! a function that has the instruction set's target features, so everything marked `#[inline(always)]` below it becomes plain vector
//! code:
//!
//! ```
//! use statespace_simd::{Isa, Kernel, Level};
//!
//! struct Scale<'a>(f32, &'a mut [f32]);
//!
//! impl Kernel for Scale<'_> {
//!     type Output = ();
//!
//!     #[inline(always)]
//!     fn eval<I: Isa>(self, isa: I) {
//!         let factor = isa.splat(self.0);
//!         for chunk in self.1.chunks_mut(I::LANES) {
//!             let x = isa.load_partial(chunk);
//!             isa.store_partial(chunk, isa.mul(x, factor));
//!         }
//!     }
//! }
//!
//! let mut x = [1.0, 2.0, 3.0];
//! for level in Level::available() {
//!     level.run(Scale(2.0, &mut x));
//! }
//! ```
//!
//! A value of an instruction set exists only on a CPU that has it (`Avx2::new()` is an `Option`), which is why calling one is safe. An
//! instruction set is one file: `scalar.rs`, `avx2.rs`, `avx512.rs`, `neon.rs`, `wasm128.rs`. What is built on them is generic: [`math`]
//! (exp and its kin), [`tile`] (the inner loops of matrix products). [`SharedOut`] is how threads write one result.
//!
//! Every result depends on the instruction set and the operands alone: reductions are trees of a fixed order.

mod element;
mod isa;
mod level;
pub mod math;
mod pairs;
mod scalar;
mod shared;
#[cfg(any(test, feature = "testing"))]
pub mod tests;
pub mod tile;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm128;

pub use element::{Bf16, Bf16Pair, Element, F16, F32, F32AsBf16, F32Pair};
pub use isa::{Isa, MAX_LANES, MAX_TILE_ROWS};
pub use level::{Kernel, Level};
pub use scalar::Scalar;
pub use shared::SharedOut;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use wasm128::Wasm128;
