//! The engine for WebAssembly: `ts/backend/wasm/direct.ts` is its only caller and says what each call means.
//!
//! Calls do their work before they return; a run is done in pieces, so that the caller can look up in between. A refusal is thrown as an
//! `Error` whose message is the JSON of `statespace_engine::Error`; a panic traps, and ends the module. Nothing here thinks.
#![cfg(target_family = "wasm")]

#[cfg(feature = "testing")]
mod testing;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use statespace_engine::{Direct, Error as Refusal, TensorSource};
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

type Result<T> = std::result::Result<T, JsError>;

/// Bytes and floating-point operations of each thread between two looks up: some 10 ms.
const PIECE: u64 = 1 << 27;

fn refuse(refusal: Refusal) -> JsError {
    JsError::new(&refusal.to_json())
}

fn parse<T: DeserializeOwned>(text: &str, what: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| refuse(Refusal::Option { message: format!("{what}: {error}") }))
}

fn text(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| JsError::new(&error.to_string()))
}

/// What this build has, as JSON.
#[wasm_bindgen]
pub fn info() -> Result<String> {
    text(&statespace_engine::info())
}

/// Findings of the validator, as JSON.
#[wasm_bindgen]
pub fn check(plan: &str) -> Result<String> {
    text(&statespace_engine::check(plan))
}

/// Does a part of each of an engine's nodes, until the engine is freed. Called once for each part, with the [`WasmEngine::pool`] of an engine in the
/// same memory.
#[wasm_bindgen(js_name = workThread)]
pub fn work_thread(pool: usize, part: usize) {
    // SAFETY: that is what the caller has promised.
    unsafe { statespace_engine::work(pool, part) }
}

/// A checkpoint to come: bytes of its files, and what lies in them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoint {
    files: Vec<u64>,
    tensors: Vec<TensorSource>,
}

/// An engine. Handles are numbers.
#[wasm_bindgen]
pub struct WasmEngine(Direct);

#[wasm_bindgen]
impl WasmEngine {
    /// Opens an engine with options as JSON.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &str) -> Result<WasmEngine> {
        Direct::open(&parse(options, "options")?).map(WasmEngine).map_err(refuse)
    }

    /// What [`work_thread`] takes; 0 with one thread.
    pub fn pool(&self) -> usize {
        self.0.pool()
    }

    /// What it runs with and holds, as JSON.
    pub fn info(&self) -> Result<String> {
        text(&self.0.info())
    }

    /// Makes room for a checkpoint, given as JSON `{ files: bytes[], tensors }`; a handle.
    pub fn reserve(&mut self, source: &str) -> Result<u32> {
        let Checkpoint { files, tensors } = parse(source, "weights")?;
        self.0.reserve(&files, tensors).map_err(refuse)
    }

    /// Puts bytes in their place in a file.
    pub fn fill(&mut self, weights: u32, file: usize, offset: f64, bytes: &[u8]) -> Result<()> {
        // A number that is no offset becomes one that is refused, or 0.
        self.0.fill(weights, file, offset as u64, bytes).map_err(refuse)
    }

    /// All bytes are there.
    pub fn seal(&mut self, weights: u32) -> Result<()> {
        self.0.seal(weights).map_err(refuse)
    }

    /// The name of a tensor, if there is such a one.
    #[wasm_bindgen(js_name = firstNonFinite)]
    pub fn first_non_finite(&self, weights: u32) -> Result<Option<String>> {
        self.0.first_non_finite(weights).map_err(refuse)
    }

    /// Loads a plan; a handle.
    pub fn load(&mut self, plan: &str, weights: Option<u32>) -> Result<u32> {
        self.0.load(plan, weights).map_err(refuse)
    }

    /// Makes a state for a program; a handle.
    pub fn state(&mut self, program: u32) -> Result<u32> {
        self.0.state(program).map_err(refuse)
    }

    /// Begins a run.
    pub fn start(&mut self, program: u32, state: Option<u32>, steps: u32) -> Result<()> {
        self.0.start(program, state, steps).map_err(refuse)
    }

    /// Does the next piece of the run; true when it is over.
    pub fn advance(&mut self) -> Result<bool> {
        self.0.advance(PIECE).map_err(refuse)
    }

    /// Forgets the run.
    pub fn cancel(&mut self) {
        self.0.cancel();
    }

    /// Copies a state.
    #[wasm_bindgen(js_name = copyState)]
    pub fn copy_state(&mut self, to: u32, from: u32) -> Result<()> {
        self.0.copy_state(to, from).map_err(refuse)
    }

    /// Reads a buffer.
    pub fn read(&self, target: u32, name: &str) -> Result<Vec<u8>> {
        self.0.read(target, name).map_err(refuse)
    }

    /// Writes the front of a buffer.
    pub fn write(&mut self, target: u32, name: &str, bytes: &[u8]) -> Result<()> {
        self.0.write(target, name, bytes).map_err(refuse)
    }

    /// Frees what a handle stands for.
    pub fn release(&mut self, handle: u32) -> Result<()> {
        self.0.release(handle).map_err(refuse)
    }
}
