//! Tells the emulated device whether there is an emulator: `statespace-ops` compiles it where it can.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(emulated)");
    if std::env::var_os("DEP_STATESPACE_EMULATOR_EMULATED").is_some() {
        println!("cargo::rustc-cfg=emulated");
    }
}
