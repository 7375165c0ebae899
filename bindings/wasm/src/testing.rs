//! What only a test build has (feature `testing`): the tests of instruction sets and ops, which `cargo test` cannot run here.

use serde::Serialize;
use statespace_engine::testing::{checks, tests};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::{Result, text};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console)]
    fn error(message: &str);
}

#[derive(Serialize)]
struct Outcome<'a> {
    name: &'a str,
    passed: bool,
    detail: &'a str,
}

/// Names of all tests, in the order of their numbers, as JSON.
#[wasm_bindgen(js_name = parityCases)]
pub fn parity_cases() -> Result<String> {
    let of_sets = tests::ALL.iter().map(|(name, _)| format!("simd {name}"));
    text(&of_sets.chain(checks().iter().map(|check| check.name())).collect::<Vec<_>>())
}

/// Runs test number `index`; its name, whether it passed and else why not, as JSON. A panic is written to the console before it traps.
#[wasm_bindgen(js_name = parityRun)]
pub fn parity_run(index: usize) -> Result<String> {
    std::panic::set_hook(Box::new(|info| error(&info.to_string())));
    if let Some((name, test)) = tests::ALL.get(index) {
        test();
        return text(&Outcome { name: &format!("simd {name}"), passed: true, detail: "" });
    }
    let check = &checks()[index - tests::ALL.len()];
    let found = check.run();
    text(&Outcome { name: &check.name(), passed: found.is_ok(), detail: found.err().as_deref().unwrap_or_default() })
}
