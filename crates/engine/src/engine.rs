//! The handle: a sender of commands to the one thread that owns everything of an engine.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::core::Core;
use crate::error::Error;
use crate::options::{EngineInfo, Options};
use crate::run::Pace;
use crate::weights::{Source, Weights};

/// Work of a thread between two looks at an abort: some 10 ms. Less would show where every round rounds its factors to bf16 anew.
const ROUND: u64 = 1 << 30;

/// What a call ends with. Called exactly once: on the engine thread, or, after [`Engine::shutdown`], on the caller's.
pub type Reply<T> = Box<dyn FnOnce(Result<T, Error>) + Send>;

/// An engine. Calls run one by one, in the order they were made; clones share one thread, which ends once the last of them is dropped and what
/// they asked for is done.
#[derive(Clone)]
pub struct Engine(Arc<Handle>);

struct Handle {
    commands: Sender<Command>,
    info: Arc<Mutex<EngineInfo>>,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

type Command = Box<dyn FnOnce(&mut Owner) + Send>;

/// A reply that is given even if its command never runs.
struct Promise<T>(Option<Reply<T>>);

impl<T> Promise<T> {
    fn settle(mut self, result: Result<T, Error>) {
        if let Some(reply) = self.0.take() {
            reply(result);
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply(Err(Error::Disposed));
        }
    }
}

/// What the engine thread has.
struct Owner {
    core: Result<Core, Error>,
    stop: Arc<AtomicBool>,
}

impl Owner {
    /// Does a command's work. A panic leaves the engine crashed, since what it interrupted may be half done.
    fn attempt<T>(&mut self, work: impl FnOnce(&mut Core) -> Result<T, Error>) -> Result<T, Error> {
        if self.stop.load(SeqCst) {
            return Err(Error::Disposed);
        }
        let core = self.core.as_mut().map_err(|error| error.clone())?;
        match catch_unwind(AssertUnwindSafe(|| work(core))) {
            Ok(result) => result,
            Err(panic) => {
                let error = Error::Crashed { message: message(&*panic) };
                self.close(error.clone());
                Err(error)
            }
        }
    }

    /// Frees everything; later commands fail with `why`.
    fn close(&mut self, why: Error) {
        let core = std::mem::replace(&mut self.core, Err(why));
        // Whatever a crash has left is freed if it can be; a second panic tells nothing new.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(core)));
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}

impl Engine {
    /// Starts the engine's threads.
    pub fn open(options: Options) -> Result<Engine, Error> {
        let (commands, queue) = channel();
        let (info, stop) = (Arc::new(Mutex::new(EngineInfo::default())), Arc::new(AtomicBool::new(false)));
        let (started, start) = channel();
        let thread = {
            let (info, stop) = (info.clone(), stop.clone());
            thread::Builder::new().name("statespace".to_owned()).spawn(move || serve(&options, info, stop, &queue, &started))
        };
        let thread = thread.map_err(|error| Error::option(format!("no thread could be had: {error}")))?;
        start.recv().unwrap_or(Err(Error::Disposed))?;
        Ok(Engine(Arc::new(Handle { commands, info, stop, thread: Mutex::new(Some(thread)) })))
    }

    /// What it runs with and holds, as of the last command that ended.
    pub fn info(&self) -> EngineInfo {
        self.0.info.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn submit<T: 'static>(&self, reply: Reply<T>, work: impl FnOnce(&mut Core) -> Result<T, Error> + Send + 'static) {
        let promise = Promise(Some(reply));
        self.send(move |owner| {
            let result = owner.attempt(work);
            promise.settle(result);
        });
    }

    fn send(&self, command: impl FnOnce(&mut Owner) + Send + 'static) {
        // When the thread has ended the command comes back and is dropped, which settles its promise.
        let _ = self.0.commands.send(Box::new(command));
    }

    /// Opens a checkpoint.
    pub fn weights(&self, source: Source, reply: Reply<u32>) {
        self.submit(reply, move |core| {
            let weights = Weights::open(source)?;
            let handle = core.next();
            core.adopt(handle, weights);
            Ok(handle)
        });
    }

    /// Name of the first tensor, in the order of the source, that holds a NaN or an infinity.
    pub fn first_non_finite(&self, weights: u32, reply: Reply<Option<String>>) {
        self.submit(reply, move |core| core.first_non_finite(weights));
    }

    /// Validates a plan, binds its weights, allocates what it needs to run.
    pub fn load(&self, plan: String, weights: Option<u32>, reply: Reply<u32>) {
        self.submit(reply, move |core| core.load(&plan, weights));
    }

    /// Makes a state of zeros for a program and all others whose state has the same layout.
    pub fn state(&self, program: u32, reply: Reply<u32>) {
        self.submit(reply, move |core| core.state(program));
    }

    /// Runs the nodes of a program `steps` times. `abort` is looked at between nodes and between the rounds of heavy ones; what an aborted run has
    /// changed is unspecified.
    pub fn run(&self, program: u32, state: Option<u32>, steps: u32, abort: Arc<AtomicBool>, reply: Reply<()>) {
        let stop = self.0.stop.clone();
        self.submit(reply, move |core| {
            let mut run = core.begin(program, state, steps)?;
            let go_on = |_| !(abort.load(SeqCst) || stop.load(SeqCst));
            if core.advance(&mut run, &Pace { work: ROUND, go_on: &go_on })? { Ok(()) } else { Err(Error::Aborted) }
        });
    }

    /// Copies a state into another of the same layout.
    pub fn copy_state(&self, to: u32, from: u32, reply: Reply<()>) {
        self.submit(reply, move |core| core.copy_state(to, from));
    }

    /// Bytes of an input or output of a program, of its `node.{id}.{output}` where the engine keeps dumps, or of a buffer of a state.
    pub fn read(&self, target: u32, name: String, reply: Reply<Vec<u8>>) {
        self.submit(reply, move |core| core.read(target, &name));
    }

    /// Writes an input of a program or a buffer of a state, or the front of one.
    pub fn write(&self, target: u32, name: String, bytes: Vec<u8>, reply: Reply<()>) {
        self.submit(reply, move |core| core.write(target, &name, &bytes));
    }

    /// Frees what a handle stands for, in its turn; nothing if there is no such thing. Programs keep the weights they use.
    pub fn release(&self, handle: u32) {
        self.send(move |owner| {
            // Nobody waits for an answer; after a panic the next call has it.
            let _ = owner.attempt(|core| core.release(handle));
        });
    }

    /// Frees everything once the calls made before are done; those made after it end with `disposed`. Never fails.
    pub fn dispose(&self, reply: Reply<()>) {
        let promise = Promise(Some(reply));
        self.send(move |owner| {
            owner.close(Error::Disposed);
            promise.settle(Ok(()));
        });
    }

    /// Aborts what runs, ends what waits with `disposed`, and joins the thread: for the end of a process or of an environment in it.
    pub fn shutdown(&self) {
        self.0.stop.store(true, SeqCst);
        self.send(|owner| owner.close(Error::Disposed));
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // It catches what commands throw.
            let _ = thread.join();
        }
    }
}

/// The engine thread.
fn serve(
    options: &Options,
    info: Arc<Mutex<EngineInfo>>,
    stop: Arc<AtomicBool>,
    queue: &Receiver<Command>,
    started: &Sender<Result<(), Error>>,
) {
    let core = match Core::new(options, info) {
        Ok(core) => core,
        Err(error) => {
            // `open` waits for this.
            let _ = started.send(Err(error));
            return;
        }
    };
    let mut owner = Owner { core: Ok(core), stop };
    let _ = started.send(Ok(()));
    while let Ok(command) = queue.recv() {
        // A reply may panic; its fault is not the engine's, and others still wait.
        let _ = catch_unwind(AssertUnwindSafe(|| command(&mut owner)));
        if owner.stop.load(SeqCst) {
            break;
        }
    }
    owner.close(Error::Disposed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait<T: Send + 'static>(call: impl FnOnce(Reply<T>)) -> Result<T, Error> {
        let (send, receive) = channel();
        call(Box::new(move |result| send.send(result).unwrap()));
        receive.recv().expect("a reply")
    }

    #[test]
    fn a_panic_crashes_its_engine_and_no_other() {
        let (engine, other) = (Engine::open(Options::default()).unwrap(), Engine::open(Options::default()).unwrap());
        let crash = wait(|reply| engine.submit::<()>(reply, |_| panic!("on purpose")));
        assert_eq!(crash, Err(Error::Crashed { message: "on purpose".into() }));
        assert_eq!(wait(|reply| engine.state(1, reply)), Err(Error::Crashed { message: "on purpose".into() }));
        engine.release(1);
        assert_eq!(wait(|reply| engine.dispose(reply)), Ok(()));
        assert_eq!(wait(|reply| engine.state(1, reply)), Err(Error::Disposed));
        assert_eq!(wait(|reply| other.state(1, reply)).unwrap_err().code(), "handle");
    }

    #[test]
    fn a_panic_in_a_reply_leaves_the_engine_alone() {
        let engine = Engine::open(Options::default()).unwrap();
        engine.state(1, Box::new(|_| panic!("in a reply")));
        assert_eq!(wait(|reply| engine.state(1, reply)).unwrap_err().code(), "handle");
    }
}
