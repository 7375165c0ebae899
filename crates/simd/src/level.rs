//! Which instruction set runs a kernel, chosen at run time.

use crate::Isa;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
use crate::Scalar;

/// Work that is generic over the instruction set.
///
/// `eval` and everything it calls per element must be `#[inline(always)]`: only then is it compiled with the target features of the
/// instruction set. A function that is not inlined falls back to the baseline and pays a call per vector; closures cannot be marked, so vectors stay
/// out of them (`array::from_fn` and `map` included).
pub trait Kernel {
    /// Whether it multiplies pairs of bf16 where the CPU does; else it need not be compiled once more for `avx512bf16`.
    const PAIRS: bool = false;
    /// What the work returns.
    type Output;

    /// Does the work.
    fn eval<I: Isa>(self, isa: I) -> Self::Output;
}

/// An instruction set that this CPU has.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// Portable code, 8 lanes. A module with vectors goes without: it would be downloaded for nothing.
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    Scalar(Scalar),
    /// AVX2, FMA and F16C, 8 lanes.
    #[cfg(target_arch = "x86_64")]
    Avx2(crate::Avx2),
    /// AVX-512 F, BW, VL and DQ, 16 lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512(crate::Avx512),
    /// AVX-512 with AVX512-BF16, 16 lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(crate::Avx512<true>),
    /// NEON, 4 lanes.
    #[cfg(target_arch = "aarch64")]
    Neon(crate::Neon),
    /// WebAssembly SIMD, 4 lanes; with relaxed SIMD where the module was compiled for it.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Wasm128(crate::Wasm128),
}

impl Level {
    /// All that this CPU has, slowest first.
    pub fn available() -> Vec<Self> {
        let mut levels = Vec::new();
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        levels.extend([Self::Scalar(Scalar)]);
        #[cfg(target_arch = "x86_64")]
        {
            levels.extend(crate::Avx2::new().map(Self::Avx2));
            let (plain, pairs) = (crate::Avx512::new().map(Self::Avx512), crate::Avx512::new().map(Self::Avx512Bf16));
            // As measured on Sapphire Rapids: one `vdpbf16ps` every other cycle, but two f32 multiply-adds in each, so that pairs lose.
            let both = if pairs_are_slow() { [pairs, plain] } else { [plain, pairs] };
            levels.extend(both.into_iter().flatten());
        }
        #[cfg(target_arch = "aarch64")]
        levels.extend(crate::Neon::new().map(Self::Neon));
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        levels.extend(crate::Wasm128::new().map(Self::Wasm128));
        levels
    }

    /// The fastest that this CPU has.
    pub fn best() -> Self {
        Self::available().pop().expect("one at least is always available")
    }

    /// `scalar`, `avx2`, `avx512`, `avx512bf16`, `neon`, `simd128` or `relaxed-simd`.
    pub fn name(self) -> &'static str {
        struct Name;
        impl Kernel for Name {
            const PAIRS: bool = true;
            type Output = &'static str;
            fn eval<I: Isa>(self, _: I) -> &'static str {
                I::NAME
            }
        }
        self.run(Name)
    }

    /// The instruction set of that name, when this CPU has it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|level| level.name() == name)
    }

    /// Runs `kernel` compiled for this instruction set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
            Self::Scalar(isa) => isa.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(isa) => isa.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(isa) => isa.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(isa) => isa.run(kernel),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(isa) => isa.run(kernel),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Wasm128(isa) => isa.run(kernel),
        }
    }
}

/// Whether this CPU is Intel's; the measured reason is in [`Level::available`].
#[cfg(target_arch = "x86_64")]
fn pairs_are_slow() -> bool {
    core::arch::x86_64::__cpuid(0).ebx.to_le_bytes() == *b"Genu"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_levels() {
        for level in Level::available() {
            assert_eq!(Level::from_name(level.name()).map(Level::name), Some(level.name()));
        }
        assert!(Level::from_name("avx3").is_none());
        assert_eq!(Level::available().last().map(|level| level.name()), Some(Level::best().name()));
    }
}
