//! Links against what Node exports.
fn main() {
    napi_build::setup();
}
