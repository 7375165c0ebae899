//! A device by NVIDIA's driver, which is looked for when it is asked for: the same build runs where there is none. All `unsafe` of the CUDA
//! executor is in this folder.

mod gemm;
mod kernels;
mod probe;
mod staging;

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use cudarc::driver::result::{self, DriverError, event, graph, mem_get_info, stream};
use cudarc::driver::sys;
use statespace_ops::cuda::{Device as Facts, Step};

use self::gemm::Library;
use self::kernels::Kernels;
pub(crate) use self::probe::survey;
use self::probe::{attribute, device};
use self::staging::Staging;
use super::device::{Device, MARKS};
use crate::error::Error;
use crate::options::DeviceInfo;

/// The oldest GPUs that there are kernels for.
const OLDEST: (u32, u32) = (8, 0);

fn failed(what: &str) -> impl Fn(DriverError) -> Error {
    move |error| {
        let (name, text) = (error.error_name().ok(), error.error_string().ok());
        let [name, text] =
            [name, text].map(|part| part.map_or_else(|| format!("{:?}", error.0), |part| part.to_string_lossy().into_owned()));
        Error::Device { message: format!("{what}: {text} ({name})") }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // An engine that panicked is not used again.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A GPU: its context, one stream, the kernels that were asked for.
struct Driver {
    info: DeviceInfo,
    ordinal: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    marks: [sys::CUevent; MARKS],
    facts: Facts,
    kernels: Mutex<Kernels>,
    gemms: Option<Library>,
    staging: Staging,
}

// SAFETY: the driver's handles may be used from any thread that has made their context current, as every call here does first; what is not to be
// used by two threads at once is behind a mutex, or used by the one thread that owns the engine.
unsafe impl Send for Driver {}
// SAFETY: as above.
unsafe impl Sync for Driver {}

/// Opens a device: that of the index, else the first.
pub(super) fn open(index: Option<usize>) -> Result<Arc<dyn Device>, Error> {
    let (ordinal, info) = device(index.unwrap_or(0))?;
    let number = |what| attribute(ordinal, what).map(|value| value.max(0) as u32);
    let capability = (
        number(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        number(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    );
    if capability < OLDEST {
        let ((major, minor), (first, second)) = (capability, OLDEST);
        return Err(Error::Device {
            message: format!("the GPU has compute capability {major}.{minor}; {first}.{second} or newer is needed"),
        });
    }
    let facts = Facts {
        multiprocessors: number(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        shared_per_block_optin: number(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        capability,
    };
    let library = Builder::new().spawn(Library::is_there).map_err(|error| Error::option(format!("no thread could be had: {error}")))?;
    // SAFETY: the driver has named this device. The context is released by `Driver`, which is made of it at once.
    let context = unsafe { result::primary_ctx::retain(ordinal) }.map_err(failed("no context could be made on the GPU"))?;
    let mut driver = Driver {
        info,
        ordinal,
        context,
        stream: std::ptr::null_mut(),
        marks: [std::ptr::null_mut(); MARKS],
        facts,
        kernels: Mutex::default(),
        gemms: None,
        staging: Staging::default(),
    };
    driver.bind()?;
    driver.stream = stream::create(stream::StreamKind::NonBlocking).map_err(failed("no stream could be made"))?;
    for mark in &mut driver.marks {
        *mark = new_event()?;
    }
    driver.gemms = library.join().unwrap_or_else(|panic| resume_unwind(panic)).then(Library::default);
    driver.info.free = Some(driver.free()?);
    Ok(Arc::new(driver))
}

fn new_event() -> Result<sys::CUevent, Error> {
    event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).map_err(failed("no event could be made"))
}

impl Driver {
    /// Makes the context that of this thread.
    fn bind(&self) -> Result<(), Error> {
        // SAFETY: the context is retained as long as `self` lives.
        unsafe { result::ctx::set_current(self.context) }.map_err(failed("the GPU's context could not be used"))
    }
}

impl Device for Driver {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn facts(&self) -> Facts {
        self.facts
    }

    fn gemm(&self) -> bool {
        self.gemms.is_some()
    }

    fn ready(&self) -> Result<(), Error> {
        self.bind()?;
        self.gemms.as_ref().map_or(Ok(()), |gemms| gemms.with(|_| Ok(())))
    }

    fn free(&self) -> Result<u64, Error> {
        self.bind()?;
        mem_get_info().map(|(free, _)| free as u64).map_err(failed("free memory could not be asked for"))
    }

    fn alloc(&self, bytes: usize) -> Result<u64, Error> {
        self.bind()?;
        // SAFETY: the bytes are written, or taken as numbers, of which every pattern is one.
        unsafe { result::malloc_sync(bytes) }.map_err(|error| match error.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::Memory { needed: bytes as u64 },
            _ => failed("memory could not be had")(error),
        })
    }

    fn dealloc(&self, address: u64) {
        // An engine whose device has failed frees what it can; the process's end frees the rest.
        let _ = self.synchronize();
        // SAFETY: `address` came from `alloc` and is freed once, by the `Buffer` that has it; nothing uses it, by the line above.
        let _ = unsafe { result::free_sync(address) };
    }

    fn upload(&self, to: u64, bytes: &[u8]) -> Result<(), Error> {
        self.bind()?;
        self.staging.upload(self.stream, to, bytes)
    }

    fn download(&self, from: u64, bytes: &mut [u8]) -> Result<(), Error> {
        self.bind()?;
        self.staging.download(self.stream, from, bytes)
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), Error> {
        self.bind()?;
        // SAFETY: both are pieces of live allocations (`Buffer`), which are freed after the stream's work only.
        unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream) }.map_err(failed("memory could not be copied"))
    }

    fn fill(&self, to: u64, bytes: usize, value: u8) -> Result<(), Error> {
        self.bind()?;
        // SAFETY: a piece of a live allocation, see `copy`.
        unsafe { result::memset_d8_async(to, value, bytes, self.stream) }.map_err(failed("memory could not be filled"))
    }

    fn prepare(&self, steps: &[Step]) -> Result<(), Error> {
        self.bind()?;
        let mut kernels = lock(&self.kernels);
        for step in steps {
            match (step, &self.gemms) {
                (Step::Launch(launch), _) => kernels.prepare(launch, self.facts.capability)?,
                (Step::Gemm { .. }, Some(gemms)) => gemms.with(|gemms| gemms.prepare(step))?,
                (Step::Gemm { .. }, None) => unreachable!("ops were told that there is no cuBLASLt"),
            }
        }
        Ok(())
    }

    fn submit(&self, steps: &[Step]) -> Result<(), Error> {
        self.bind()?;
        let kernels = lock(&self.kernels);
        for step in steps {
            match (step, &self.gemms) {
                (Step::Launch(launch), _) => kernels.launch(launch, self.stream)?,
                (Step::Gemm { .. }, Some(gemms)) => gemms.with(|gemms| gemms.run(step, self.stream))?,
                (Step::Gemm { .. }, None) => unreachable!("ops were told that there is no cuBLASLt"),
            }
        }
        Ok(())
    }

    fn capture(&self, steps: &[Step]) -> Result<u64, Error> {
        self.bind()?;
        let refused = failed("a program could not be captured");
        // What other threads do meanwhile, as other engines, is not of this capture.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives as long as `self`.
        unsafe { stream::begin_capture(self.stream, mode) }.map_err(&refused)?;
        let submitted = self.submit(steps);
        // SAFETY: as above; the capture was begun here, and is ended whatever came of the steps.
        let captured = unsafe { stream::end_capture(self.stream) }.map_err(&refused);
        submitted?;
        let captured = captured?;
        // SAFETY: a graph that was captured just now; what is made of it does not need it.
        let made = unsafe { graph::instantiate(captured, sys::CUgraphInstantiate_flags(0)) };
        // SAFETY: as above, and it is not used again.
        unsafe { graph::destroy(captured) }.map_err(&refused)?;
        Ok(made.map_err(&refused)?.expose_provenance() as u64)
    }

    fn replay(&self, graph: u64) -> Result<(), Error> {
        self.bind()?;
        // SAFETY: `graph` came from `capture` and is not discarded yet (`Graph`); the addresses in it are of live allocations: a program drops its
        // graph when any of them moves.
        unsafe { graph::launch(handle(graph), self.stream) }.map_err(failed("a program could not be run"))
    }

    fn discard(&self, graph: u64) {
        // As in `dealloc`.
        let _ = self.synchronize();
        // SAFETY: it came from `capture`, is discarded once, and nothing runs.
        let _ = unsafe { graph::exec_destroy(handle(graph)) };
    }

    fn mark(&self, place: usize) -> Result<(), Error> {
        self.bind()?;
        // SAFETY: event and stream live as long as `self`.
        unsafe { event::record(self.marks[place], self.stream) }.map_err(failed("an event could not be recorded"))
    }

    fn wait(&self, place: usize) -> Result<(), Error> {
        self.bind()?;
        // SAFETY: the event lives as long as `self`.
        unsafe { event::synchronize(self.marks[place]) }.map_err(failed("the GPU has failed"))
    }

    fn synchronize(&self) -> Result<(), Error> {
        self.bind()?;
        // SAFETY: the stream lives as long as `self`.
        unsafe { stream::synchronize(self.stream) }.map_err(failed("the GPU has failed"))
    }
}

fn handle(graph: u64) -> sys::CUgraphExec {
    std::ptr::with_exposed_provenance_mut(graph as usize)
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Whatever of this fails, there is nothing more to be done about it.
        let _ = self.synchronize();
        self.staging.close();
        lock(&self.kernels).close();
        if let Some(gemms) = self.gemms.take() {
            gemms.close();
        }
        for mark in self.marks.into_iter().filter(|mark| !mark.is_null()) {
            // SAFETY: made by `open`, destroyed here alone.
            let _ = unsafe { event::destroy(mark) };
        }
        if !self.stream.is_null() {
            // SAFETY: as above.
            let _ = unsafe { stream::destroy(self.stream) };
        }
        // SAFETY: retained once, by `open`.
        let _ = unsafe { result::primary_ctx::release(self.ordinal) };
    }
}
