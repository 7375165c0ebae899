//! The CUDA kernels that are embedded: one module an op, three of nodes taken together, and, where nvcc was found, code that a driver loads.

use statespace_ops::cuda::{Image, MODULES};
use statespace_plan::Op;

#[test]
fn every_op_has_its_module() {
    let mut names: Vec<&str> = Op::ALL.iter().map(|op| op.name()).chain(["batch", "step", "token"]).collect();
    names.sort_unstable();
    assert_eq!(MODULES.iter().map(|module| module.name).collect::<Vec<_>>(), names);
}

#[test]
fn kernels_are_compiled() {
    let required = std::env::var("STATESPACE_REQUIRE").is_ok_and(|levels| levels.split(',').any(|level| level == "cuda"));
    for module in MODULES {
        match module.image {
            Image::Fatbin(bytes) => assert_eq!(bytes[..4], 0xBA55_ED50u32.to_le_bytes(), "{} is no fatbin", module.name),
            Image::Source(text) => {
                assert!(text.contains("KERNEL") && !text.contains("#include"), "{} is no source for NVRTC", module.name);
                println!("skipped: nvcc was not there when {} was compiled", module.name);
                assert!(!required, "{} is a source: nvcc was not there", module.name);
            }
        }
    }
}
