//! The engine for Node: `ts/backend/native.ts` is its only caller and says what each call means.
//!
//! Calls are handed to the engine's thread and give promises that it settles. A refusal crosses as an `Error` whose message is the JSON of
//! `statespace_engine::Error`. Nothing here thinks.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Weak};

use napi::bindgen_prelude::{Env, Object, ToNapiValue, Uint8Array};
use napi::{Error, Result};
use napi_derive::napi;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use statespace_engine::{Engine, Error as Refusal, File, Options, Reply, Source, TensorSource};

fn refuse(refusal: &Refusal) -> Error {
    Error::from_reason(refusal.to_json())
}

fn parse<T: DeserializeOwned>(text: &str, what: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| refuse(&Refusal::Option { message: format!("{what}: {error}") }))
}

fn text(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::from_reason(error.to_string()))
}

/// What this build and machine have, as JSON.
#[napi(catch_unwind)]
pub fn info() -> Result<String> {
    text(&statespace_engine::info())
}

/// The GPUs, as JSON; throws what says why there is none.
#[napi(catch_unwind)]
pub fn devices() -> Result<String> {
    text(&statespace_engine::devices().map_err(|error| refuse(&error))?)
}

/// Findings of the validator, as JSON.
#[napi(catch_unwind)]
pub fn check(plan: String) -> Result<String> {
    text(&statespace_engine::check(&plan))
}

/// Opens an engine with options as JSON.
#[napi(catch_unwind)]
pub fn open(env: Env, options: String) -> Result<NativeEngine> {
    let options: Options = parse(&options, "options")?;
    let engine = Arc::new(Engine::open(options).map_err(|error| refuse(&error))?);
    // When the environment goes, so must the thread, which would otherwise work on for nobody. The hook keeps no engine; it is a few bytes
    // that stay until then, since Node may have consumed it when a finalizer would take it back.
    let weak: Weak<Engine> = Arc::downgrade(&engine);
    env.add_env_cleanup_hook(weak, |weak| {
        if let Some(engine) = weak.upgrade() {
            engine.shutdown();
        }
    })?;
    Ok(NativeEngine(engine))
}

/// Ends a run that was started with it.
#[derive(Default)]
#[napi]
pub struct AbortFlag(Arc<AtomicBool>);

#[napi]
impl AbortFlag {
    /// Not set.
    #[napi(constructor, catch_unwind)]
    pub fn new() -> AbortFlag {
        AbortFlag::default()
    }

    /// Sets it, for good.
    #[napi(catch_unwind)]
    pub fn set(&self) {
        self.0.store(true, SeqCst);
    }
}

/// A checkpoint; a file is a path or the index of a buffer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoint {
    files: Vec<Place>,
    tensors: Vec<TensorSource>,
    mmap: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Place {
    Buffer(usize),
    Path(PathBuf),
}

/// An engine. Handles are numbers.
#[napi]
pub struct NativeEngine(Arc<Engine>);

#[napi]
impl NativeEngine {
    /// Makes a call whose reply settles the promise that is returned. It keeps the process alive, and the engine, until then.
    fn promise<'e, T: Send + 'static, V: ToNapiValue + 'static>(
        &self,
        env: &'e Env,
        convert: fn(T) -> V,
        call: impl FnOnce(&Engine, Reply<T>),
    ) -> Result<Object<'e>> {
        let (deferred, promise) = env.create_deferred::<V, Box<dyn FnOnce(Env) -> Result<V>>>()?;
        let keep = self.0.clone();
        let reply: Reply<T> = Box::new(move |result| {
            // Where the environment has gone meanwhile, both of these do nothing.
            match result {
                Ok(value) => deferred.resolve(Box::new(move |_| Ok(convert(value)))),
                Err(refusal) => deferred.reject(refuse(&refusal)),
            }
            drop(keep);
        });
        call(&self.0, reply);
        Ok(promise)
    }

    /// What it runs with and holds, as JSON.
    #[napi(catch_unwind)]
    pub fn info(&self) -> Result<String> {
        text(&self.0.info())
    }

    /// Opens a checkpoint, given as JSON `{ files: (path | index)[], tensors, mmap? }`; a handle.
    #[napi(catch_unwind)]
    pub fn weights<'e>(&self, env: &'e Env, source: String, buffers: Vec<Uint8Array>) -> Result<Object<'e>> {
        let Checkpoint { files, tensors, mmap } = parse(&source, "weights")?;
        let file = |place| match place {
            Place::Path(path) => Ok(File::Path(path)),
            Place::Buffer(i) => match buffers.get(i) {
                Some(buffer) => Ok(File::Bytes(buffer.to_vec())),
                None => Err(refuse(&Refusal::Option { message: format!("weights: there is no buffer {i}") })),
            },
        };
        let files = files.into_iter().map(file).collect::<Result<_>>()?;
        let source = Source { files, tensors, mmap: mmap.unwrap_or(true) };
        self.promise(env, |handle: u32| handle, |engine, reply| engine.weights(source, reply))
    }

    /// The name of a tensor, or null.
    #[napi(catch_unwind)]
    pub fn first_non_finite<'e>(&self, env: &'e Env, weights: u32) -> Result<Object<'e>> {
        self.promise(env, |name: Option<String>| name, |engine, reply| engine.first_non_finite(weights, reply))
    }

    /// Loads a plan; a handle.
    #[napi(catch_unwind)]
    pub fn load<'e>(&self, env: &'e Env, plan: String, weights: Option<u32>) -> Result<Object<'e>> {
        self.promise(env, |handle: u32| handle, |engine, reply| engine.load(plan, weights, reply))
    }

    /// Makes a state for a program; a handle.
    #[napi(catch_unwind)]
    pub fn state<'e>(&self, env: &'e Env, program: u32) -> Result<Object<'e>> {
        self.promise(env, |handle: u32| handle, |engine, reply| engine.state(program, reply))
    }

    /// Runs a program.
    #[napi(catch_unwind)]
    pub fn run<'e>(&self, env: &'e Env, program: u32, state: Option<u32>, steps: u32, abort: Option<&AbortFlag>) -> Result<Object<'e>> {
        let abort = abort.map(|flag| flag.0.clone()).unwrap_or_default();
        self.promise(env, |()| (), |engine, reply| engine.run(program, state, steps, abort, reply))
    }

    /// Copies a state.
    #[napi(catch_unwind)]
    pub fn copy_state<'e>(&self, env: &'e Env, to: u32, from: u32) -> Result<Object<'e>> {
        self.promise(env, |()| (), |engine, reply| engine.copy_state(to, from, reply))
    }

    /// Reads a buffer; bytes.
    #[napi(catch_unwind)]
    pub fn read<'e>(&self, env: &'e Env, target: u32, name: String) -> Result<Object<'e>> {
        self.promise(env, Uint8Array::from, |engine, reply: Reply<Vec<u8>>| engine.read(target, name, reply))
    }

    /// Writes the front of a buffer.
    #[napi(catch_unwind)]
    pub fn write<'e>(&self, env: &'e Env, target: u32, name: String, bytes: &[u8]) -> Result<Object<'e>> {
        let bytes = bytes.to_vec();
        self.promise(env, |()| (), |engine, reply| engine.write(target, name, bytes, reply))
    }

    /// Frees what a handle stands for, in its turn.
    #[napi(catch_unwind)]
    pub fn release(&self, handle: u32) {
        self.0.release(handle);
    }

    /// Frees everything once the calls before it are done.
    #[napi(catch_unwind)]
    pub fn dispose<'e>(&self, env: &'e Env) -> Result<Object<'e>> {
        self.promise(env, |()| (), |engine, reply| engine.dispose(reply))
    }
}
