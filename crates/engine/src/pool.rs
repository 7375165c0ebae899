//! A fork–join pool: one job at a time, cut into parts, with a barrier at its end.
//!
//! The thread that owns the pool works too. Its workers are threads that it starts, or, on WebAssembly, where it cannot, threads that the host
//! sends in through [`work`]. Workers wait for the next job spinning for a moment, since nodes follow each other closely, then
//! giving way, then asleep: an idle pool costs nothing. Nothing is allocated for a job.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
#[cfg(not(target_family = "wasm"))]
use std::thread;

use crate::arena::Arena;
use crate::error::Error;

/// What a part runs: its number and its scratch.
type Work<'a> = dyn Fn(usize, &mut [f32]) + Sync + 'a;

/// The bits of a job's word that hold its number of parts; the others count jobs.
const PARTS: u64 = 0xFFFF;
/// The word that ends the workers.
const STOP: u64 = u64::MAX;

#[derive(Clone, Copy)]
struct Job {
    work: *const Work<'static>,
    scratch: *mut f32,
    floats: usize,
}

struct Shared {
    /// Changes with every job.
    word: AtomicU64,
    job: UnsafeCell<Option<Job>>,
    /// Workers that have not finished their part.
    left: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// The owner, and each worker.
    threads: Vec<Member>,
}

#[derive(Default)]
struct Member {
    bell: Bell,
    /// Whether it waits for the bell, or is about to.
    asleep: AtomicBool,
}

impl Member {
    /// Wakes it, if it sleeps. What it waits for has happened before.
    fn wake(&self) {
        if self.asleep.load(SeqCst) {
            self.bell.ring();
        }
    }

    /// Returns when `ready`. Who makes it so wakes it afterwards.
    fn wait(&self, ready: impl Fn() -> bool) {
        if linger(&ready) {
            return;
        }
        self.asleep.store(true, SeqCst);
        // Both sides write, then read, in one total order: either this sees the change or the other side sees the flag.
        self.bell.wait(ready);
        self.asleep.store(false, SeqCst);
    }
}

/// What one thread sleeps by.
#[cfg(not(target_family = "wasm"))]
#[derive(Default)]
struct Bell(std::sync::OnceLock<thread::Thread>);

#[cfg(not(target_family = "wasm"))]
impl Bell {
    /// It is the calling thread that will sleep by it.
    fn own(&self) {
        self.0.get_or_init(thread::current);
    }

    fn ring(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }

    fn wait(&self, ready: impl Fn() -> bool) {
        while !ready() {
            thread::park();
        }
    }
}

/// What one thread sleeps by: a count of the rings. Not `std::thread::park`: its compare-and-exchange is one that the first tier of Node 20's
/// compiler gets wrong, for some of the registers it can fall to, and then the thread never wakes.
#[cfg(target_family = "wasm")]
#[derive(Default)]
struct Bell(std::sync::atomic::AtomicI32);

#[cfg(target_family = "wasm")]
impl Bell {
    fn own(&self) {}

    fn ring(&self) {
        self.0.fetch_add(1, SeqCst);
        // SAFETY: the address is that of an atomic.
        #[cfg(target_feature = "atomics")]
        unsafe {
            std::arch::wasm32::memory_atomic_notify(self.0.as_ptr(), 1);
        }
    }

    fn wait(&self, ready: impl Fn() -> bool) {
        loop {
            let rings = self.0.load(SeqCst);
            if ready() {
                return;
            }
            // A ring since then is seen, as the count has changed.
            sleep(&self.0, rings);
        }
    }
}

/// Sleeps while the count is that one.
#[cfg(all(target_family = "wasm", target_feature = "atomics"))]
fn sleep(count: &std::sync::atomic::AtomicI32, rings: i32) {
    // SAFETY: the address is that of an atomic.
    unsafe { std::arch::wasm32::memory_atomic_wait32(count.as_ptr(), rings, -1) };
}

#[cfg(all(target_family = "wasm", not(target_feature = "atomics")))]
fn sleep(_: &std::sync::atomic::AtomicI32, _: i32) {
    unreachable!("one thread waits for nobody");
}

// SAFETY: `job` is written by the owner alone, while `left` is 0 and before `word` changes; a worker reads it only after it saw a word that
// counts it in, and before it takes itself off `left`.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointers in `job` are used only while `Pool::run`, which has what they point to, waits.
unsafe impl Send for Shared {}

/// The pool. Dropping it ends its workers, and joins those it started.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    #[cfg(not(target_family = "wasm"))]
    workers: Vec<thread::JoinHandle<()>>,
    scratch: Arena,
    /// Floats of scratch of one part.
    floats: usize,
}

impl Pool {
    /// A pool of `threads`, the caller, who is the only one to use it, included.
    pub(crate) fn new(threads: usize) -> Result<Pool, Error> {
        let (word, left) = (AtomicU64::new(0), AtomicUsize::new(0));
        let members = (0..threads).map(|_| Member::default()).collect();
        let shared = Arc::new(Shared { word, job: UnsafeCell::new(None), left, panic: Mutex::new(None), threads: members });
        shared.threads[0].bell.own();
        Pool::staff(shared, threads)
    }

    #[cfg(not(target_family = "wasm"))]
    fn staff(shared: Arc<Shared>, threads: usize) -> Result<Pool, Error> {
        let mut pool = Pool { shared, workers: Vec::new(), scratch: Arena::zeroed(0)?, floats: 0 };
        for part in 1..threads {
            let shared = pool.shared.clone();
            let body = move || {
                shared.threads[part].bell.own();
                serve(&shared, part);
            };
            let spawned = thread::Builder::new().name(format!("statespace-{part}")).spawn(body);
            pool.workers.push(spawned.map_err(|error| Error::option(format!("{threads} threads could not be had: {error}")))?);
        }
        Ok(pool)
    }

    #[cfg(target_family = "wasm")]
    fn staff(shared: Arc<Shared>, threads: usize) -> Result<Pool, Error> {
        if threads > 1 && cfg!(not(target_feature = "atomics")) {
            return Err(Error::option(format!("threads is {threads}; this build has one")));
        }
        for _ in 1..threads {
            // Kept for each worker, which may come after the pool has gone.
            std::mem::forget(shared.clone());
        }
        Ok(Pool { shared, scratch: Arena::zeroed(0)?, floats: 0 })
    }

    /// Where workers find it; 0 if it needs none.
    #[cfg(target_family = "wasm")]
    pub(crate) fn address(&self) -> usize {
        if self.threads() > 1 { Arc::as_ptr(&self.shared).expose_provenance() } else { 0 }
    }

    /// Number of threads, the caller included.
    pub(crate) fn threads(&self) -> usize {
        self.shared.threads.len()
    }

    /// Bytes of scratch in all.
    pub(crate) fn scratch_bytes(&self) -> usize {
        self.scratch.len()
    }

    /// Makes the scratch of each part `floats` long.
    pub(crate) fn set_scratch(&mut self, floats: usize) -> Result<(), Error> {
        // Whole cache lines, so that parts do not share one.
        let floats = floats.checked_next_multiple_of(64).unwrap_or(usize::MAX);
        if floats != self.floats {
            self.scratch = Arena::zeroed(floats.saturating_mul(4).saturating_mul(self.threads()))?;
            self.floats = floats;
        }
        Ok(())
    }

    /// Calls `work(part, scratch)` once for each of `parts`, at most [`Self::threads`], and returns when all have returned.
    ///
    /// # Panics
    /// With the panic of a part, once all have ended.
    pub(crate) fn run(&mut self, parts: usize, work: &Work) {
        assert!((1..=self.threads()).contains(&parts), "{parts} parts of {}", self.threads());
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes; no worker touches the work after the wait at the end of this function.
        let erased = unsafe { std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work) };
        let job = Job { work: erased, scratch: self.scratch.as_mut_ptr().cast(), floats: self.floats };
        if parts > 1 {
            // SAFETY: `left` is 0: no worker is in a job.
            unsafe { *shared.job.get() = Some(job) };
            shared.left.store(parts - 1, SeqCst);
            let count = (shared.word.load(SeqCst) & !PARTS).wrapping_add(PARTS + 1) & (STOP >> 1);
            shared.word.store(count | parts as u64, SeqCst);
            shared.threads[1..parts].iter().for_each(Member::wake);
        }
        let own = catch_unwind(AssertUnwindSafe(|| job.part(0)));
        if parts > 1 {
            shared.threads[0].wait(|| shared.left.load(SeqCst) == 0);
        }
        let others = if cfg!(panic = "unwind") { shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take() } else { None };
        if let Some(panic) = own.err().or(others) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.word.store(STOP, SeqCst);
        self.shared.threads.iter().for_each(Member::wake);
        #[cfg(not(target_family = "wasm"))]
        for worker in self.workers.drain(..) {
            // A worker catches what its work throws, so there is nothing to learn from the result.
            let _ = worker.join();
        }
    }
}

impl Job {
    fn part(self, part: usize) {
        // SAFETY: `Pool::run` waits with both the work and the scratch, which has this many floats for each part; each part is run by one thread.
        let (work, scratch) = unsafe { (&*self.work, std::slice::from_raw_parts_mut(self.scratch.add(part * self.floats), self.floats)) };
        work(part, scratch);
    }
}

/// The life of a worker that does this part of every job.
fn serve(shared: &Shared, part: usize) {
    let mut seen = 0;
    loop {
        shared.threads[part].wait(|| shared.word.load(SeqCst) != seen);
        seen = shared.word.load(SeqCst);
        if seen == STOP {
            return;
        }
        if part as u64 >= seen & PARTS {
            continue;
        }
        // SAFETY: the word counts this part in, so the job is not written before `left` is taken down below.
        let job = unsafe { *shared.job.get() };
        if let Some(job) = job
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| job.part(part)))
        {
            *shared.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
        }
        if shared.left.fetch_sub(1, SeqCst) == 1 {
            shared.threads[0].wake();
        }
    }
}

/// Does the `part`-th share of a pool's jobs on the calling thread, until the pool ends.
///
/// # Safety
/// The address is that of a pool of an engine of this module, which may have ended; and it is passed once for each part.
#[cfg(target_family = "wasm")]
pub unsafe fn work(address: usize, part: usize) {
    let pool = std::ptr::with_exposed_provenance::<Shared>(address);
    // SAFETY: what the pool has kept for this part, which takes it once.
    let shared = unsafe { Arc::from_raw(pool) };
    serve(&shared, part);
}

/// Waits for a moment, since what is waited for mostly comes at once; gives way to others before the end of it. Whether it came.
#[cfg(not(target_family = "wasm"))]
fn linger(ready: impl Fn() -> bool) -> bool {
    use std::time::{Duration, Instant};
    const SPIN: Duration = Duration::from_micros(5);
    const YIELD: Duration = Duration::from_micros(20);
    if spin(64, &ready) {
        return true;
    }
    let start = Instant::now();
    loop {
        if spin(64, &ready) {
            return true;
        }
        match start.elapsed() {
            passed if passed < SPIN => {}
            passed if passed < YIELD => thread::yield_now(),
            _ => return false,
        }
    }
}

/// Waits for a moment, since what is waited for mostly comes at once. There is no clock, and to be woken takes longer than most nodes do: this
/// is some 50 µs of looking. Whether it came.
#[cfg(target_family = "wasm")]
fn linger(ready: impl Fn() -> bool) -> bool {
    spin(1 << 15, ready)
}

fn spin(times: usize, ready: impl Fn() -> bool) -> bool {
    (0..times).any(|_| {
        let is_ready = ready();
        if !is_ready {
            std::hint::spin_loop();
        }
        is_ready
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_runs_once() {
        for threads in [1, 2, 7] {
            let mut pool = Pool::new(threads).unwrap();
            pool.set_scratch(3).unwrap();
            for round in 0..2000 {
                let parts = 1 + round % threads;
                let counts: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
                pool.run(parts, &|part, scratch| {
                    scratch.fill(part as f32);
                    counts[part].fetch_add(1, SeqCst);
                    assert!(scratch.len() >= 3 && scratch.iter().all(|v| *v == part as f32));
                });
                let counts: Vec<usize> = counts.into_iter().map(AtomicUsize::into_inner).collect();
                assert_eq!(counts[..parts], vec![1; parts], "round {round}");
                assert_eq!(counts[parts..], vec![0; threads - parts]);
                if round % 500 == 0 {
                    thread::sleep(std::time::Duration::from_millis(1)); // so that workers sleep
                }
            }
        }
    }

    #[test]
    fn panics_reach_the_owner_after_the_barrier() {
        let mut pool = Pool::new(3).unwrap();
        for bad in 0..3 {
            let done = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(3, &|part, _| {
                    if part == bad {
                        panic!("part {bad}");
                    }
                    done.fetch_add(1, SeqCst);
                });
            }));
            assert_eq!(result.unwrap_err().downcast_ref::<String>().map(String::as_str), Some(format!("part {bad}").as_str()));
            assert_eq!(done.load(SeqCst), 2);
        }
        pool.run(3, &|_, _| {});
    }
}
