//! Engines that wait, plans with data for them, and what comes out.
#![allow(dead_code)] // each test file takes what it needs

pub mod build;
pub mod case;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;

use serde_json::Value;
use statespace_engine::{Engine, Error, Options, Reply, Source};

/// Makes a call and waits for its reply.
pub fn wait<T: Send + 'static>(call: impl FnOnce(Reply<T>)) -> Result<T, Error> {
    let (send, receive) = channel();
    call(Box::new(move |result| send.send(result).unwrap()));
    let result = receive.recv().expect("a reply");
    assert!(receive.recv().is_err(), "a second reply");
    result
}

/// Options as JSON.
pub fn options(text: &str) -> Options {
    serde_json::from_str(text).unwrap()
}

/// An engine with these options.
pub fn open(text: &str) -> Engine {
    Engine::open(options(text)).unwrap()
}

/// An engine on the emulator of a GPU with these options more, where that could be compiled.
pub fn emulated(more: &str) -> Option<Engine> {
    match Engine::open(options(&format!(r#"{{"executor":"cuda","emulated":true{more}}}"#))) {
        Ok(engine) => Some(engine),
        Err(Error::NoDevice { message }) => {
            println!("skipped: {message}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The calls, waiting.
pub trait Wait {
    fn open_weights(&self, source: Source) -> Result<u32, Error>;
    fn load_plan(&self, plan: &Value, weights: Option<u32>) -> Result<u32, Error>;
    fn new_state(&self, program: u32) -> Result<u32, Error>;
    fn go(&self, program: u32, state: Option<u32>, steps: u32) -> Result<(), Error>;
    fn get(&self, target: u32, name: &str) -> Result<Vec<u8>, Error>;
    fn put(&self, target: u32, name: &str, bytes: &[u8]) -> Result<(), Error>;
    fn end(&self) -> Result<(), Error>;
}

impl Wait for Engine {
    fn open_weights(&self, source: Source) -> Result<u32, Error> {
        wait(|reply| self.weights(source, reply))
    }
    fn load_plan(&self, plan: &Value, weights: Option<u32>) -> Result<u32, Error> {
        wait(|reply| self.load(plan.to_string(), weights, reply))
    }
    fn new_state(&self, program: u32) -> Result<u32, Error> {
        wait(|reply| self.state(program, reply))
    }
    fn go(&self, program: u32, state: Option<u32>, steps: u32) -> Result<(), Error> {
        wait(|reply| self.run(program, state, steps, Arc::new(AtomicBool::new(false)), reply))
    }
    fn get(&self, target: u32, name: &str) -> Result<Vec<u8>, Error> {
        wait(|reply| self.read(target, name.to_owned(), reply))
    }
    fn put(&self, target: u32, name: &str, bytes: &[u8]) -> Result<(), Error> {
        wait(|reply| self.write(target, name.to_owned(), bytes.to_vec(), reply))
    }
    fn end(&self) -> Result<(), Error> {
        wait(|reply| self.dispose(reply))
    }
}

/// Little-endian bytes.
pub fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Little-endian bytes.
pub fn i32s(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// What a panic said.
pub fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}
