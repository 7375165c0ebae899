//! A fork–join pool: one job at a time, cut into parts, with a barrier at its end.
//!
//! The thread that owns the pool works too. Workers wait for the next job spinning for a moment, since nodes follow each other closely, then
//! giving way, then parked: an idle pool costs nothing. Nothing is allocated for a job.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::error::Error;

/// What a part runs: its number and its scratch.
type Work<'a> = dyn Fn(usize, &mut [f32]) + Sync + 'a;

/// Waiting time before a thread gives way to others, and before it parks.
const SPIN: Duration = Duration::from_micros(5);
const YIELD: Duration = Duration::from_micros(20);

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
    /// Whether the owner is parked, and each worker.
    asleep: Vec<AtomicBool>,
    owner: Thread,
}

// SAFETY: `job` is written by the owner alone, while `left` is 0 and before `word` changes; a worker reads it only after it saw a word that
// counts it in, and before it takes itself off `left`.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointers in `job` are used only while `Pool::run`, which has what they point to, waits.
unsafe impl Send for Shared {}

/// The pool. Dropping it ends and joins its workers.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    scratch: Arena,
    /// Floats of scratch of one part.
    floats: usize,
}

impl Pool {
    /// A pool of `threads`, the caller, who is the only one to use it, included.
    pub(crate) fn new(threads: usize) -> Result<Pool, Error> {
        let asleep = (0..threads).map(|_| AtomicBool::new(false)).collect();
        let (word, left) = (AtomicU64::new(0), AtomicUsize::new(0));
        let shared = Arc::new(Shared { word, job: UnsafeCell::new(None), left, panic: Mutex::new(None), asleep, owner: thread::current() });
        let mut pool = Pool { shared, workers: Vec::new(), scratch: Arena::zeroed(0)?, floats: 0 };
        for part in 1..threads {
            let shared = pool.shared.clone();
            let spawned = thread::Builder::new().name(format!("statespace-{part}")).spawn(move || worker(&shared, part));
            pool.workers.push(spawned.map_err(|error| Error::option(format!("{threads} threads could not be had: {error}")))?);
        }
        Ok(pool)
    }

    /// Number of threads, the caller included.
    pub(crate) fn threads(&self) -> usize {
        self.shared.asleep.len()
    }

    /// Bytes of scratch in all.
    pub(crate) fn scratch_bytes(&self) -> usize {
        self.scratch.len()
    }

    /// Makes the scratch of each part `floats` long.
    pub(crate) fn set_scratch(&mut self, floats: usize) -> Result<(), Error> {
        // Whole cache lines, so that parts do not share one.
        let floats = floats.next_multiple_of(64);
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
            for (worker, asleep) in self.workers.iter().zip(&shared.asleep[1..]).take(parts - 1) {
                if asleep.load(SeqCst) {
                    worker.thread().unpark();
                }
            }
        }
        let own = catch_unwind(AssertUnwindSafe(|| job.part(0)));
        if parts > 1 {
            wait(&shared.asleep[0], || shared.left.load(SeqCst) == 0);
        }
        let others = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = own.err().or(others) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.word.store(STOP, SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
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

fn worker(shared: &Shared, part: usize) {
    let mut seen = 0;
    loop {
        wait(&shared.asleep[part], || shared.word.load(SeqCst) != seen);
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
        if shared.left.fetch_sub(1, SeqCst) == 1 && shared.asleep[0].load(SeqCst) {
            shared.owner.unpark();
        }
    }
}

/// Returns when `ready`. Who makes it so looks at `asleep` afterwards and unparks.
fn wait(asleep: &AtomicBool, ready: impl Fn() -> bool) {
    for _ in 0..64 {
        if ready() {
            return;
        }
        std::hint::spin_loop();
    }
    let start = Instant::now();
    loop {
        for _ in 0..64 {
            if ready() {
                return;
            }
            std::hint::spin_loop();
        }
        match start.elapsed() {
            passed if passed < SPIN => {}
            passed if passed < YIELD => thread::yield_now(),
            _ => break,
        }
    }
    asleep.store(true, SeqCst);
    // Both sides write, then read, in one total order: either this sees the change or the other side sees the flag.
    while !ready() {
        thread::park();
    }
    asleep.store(false, SeqCst);
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
                    thread::sleep(Duration::from_millis(1)); // so that workers park
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
