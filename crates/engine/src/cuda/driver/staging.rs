//! Memory of the host that the GPU copies from and to by itself.

use std::collections::VecDeque;
use std::slice::{from_raw_parts, from_raw_parts_mut};
use std::sync::Mutex;

use cudarc::driver::result::{self, DriverError, event, stream};
use cudarc::driver::sys;

use super::{failed, lock, new_event};
use crate::error::Error;

/// Bytes of a large piece: long enough for the bus, short enough to be there soon.
const LARGE: usize = 4 << 20;
/// Bytes of a small one, which inputs and results of a step fit in.
const SMALL: usize = 64 << 10;
/// Pieces of a size: two for each of the threads that copy to them, one of which the GPU has.
const PIECES: usize = 16;

/// Pieces of two sizes, made by need, each with an event that says when the GPU is done with it. Several threads may copy at once.
#[derive(Default)]
pub(super) struct Staging {
    small: Mutex<Pieces>,
    large: Mutex<Pieces>,
}

#[derive(Default)]
struct Pieces {
    made: usize,
    /// Those that nobody fills; the GPU gets to the first one first.
    lent: VecDeque<Piece>,
}

struct Piece {
    at: *mut u8,
    bytes: usize,
    free: sys::CUevent,
}

// SAFETY: a piece is one thread's at a time: that which has taken it out of the queue.
unsafe impl Send for Piece {}

impl Piece {
    fn new(bytes: usize) -> Result<Piece, Error> {
        let free = new_event()?;
        // SAFETY: the bytes are freed by `Staging::close`, and are written before they are read.
        let at = unsafe { result::malloc_host(bytes, 0) }.map_err(failed("pinned memory could not be had"))?;
        Ok(Piece { at: at.cast(), bytes, free })
    }

    /// Waits until the GPU is done with it.
    fn settle(&self) -> Result<(), Error> {
        // SAFETY: the event lives as long as the piece; one never recorded is over.
        unsafe { event::synchronize(self.free) }.map_err(failed("the GPU has failed"))
    }

    fn is_settled(&self) -> bool {
        // SAFETY: as above. What has failed is told when somebody waits for it.
        let answer = unsafe { event::query(self.free) };
        answer != Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_READY))
    }

    /// The GPU works on it until all that was asked for is done.
    fn lend(&self, stream: sys::CUstream) -> Result<(), Error> {
        // SAFETY: event and stream are live.
        unsafe { event::record(self.free, stream) }.map_err(failed("an event could not be recorded"))
    }
}

impl Staging {
    /// Lets `body` have a piece for this many bytes at least, or as many as there are in one, that the GPU is done with.
    fn with<T>(&self, bytes: usize, body: impl FnOnce(&Piece) -> Result<T, Error>) -> Result<T, Error> {
        let (pieces, size) = if bytes <= SMALL { (&self.small, SMALL) } else { (&self.large, LARGE) };
        let taken = {
            let mut pieces = lock(pieces);
            let is_short = pieces.made < PIECES && !pieces.lent.front().is_some_and(Piece::is_settled);
            if is_short {
                pieces.made += 1;
                None
            } else {
                pieces.lent.pop_front()
            }
        };
        // Pinning takes its time, during which others go on.
        let piece = taken.map_or_else(|| Piece::new(size), Ok)?;
        let done = piece.settle().and_then(|()| body(&piece));
        lock(pieces).lent.push_back(piece);
        done
    }

    /// Copies to the device; `bytes` are free again when it returns.
    pub(super) fn upload(&self, stream: sys::CUstream, to: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut at = 0;
        while at < bytes.len() {
            at += self.with(bytes.len() - at, |piece| {
                let part = &bytes[at..(at + piece.bytes).min(bytes.len())];
                // SAFETY: the piece has that many bytes, and the GPU is done with them.
                let pinned = unsafe { from_raw_parts_mut(piece.at, part.len()) };
                pinned.copy_from_slice(part);
                // SAFETY: the piece is not written again until the event below has come; the target is a piece of a live allocation.
                unsafe { result::memcpy_htod_async(to + at as u64, pinned, stream) }
                    .map_err(failed("memory could not be copied to the GPU"))?;
                piece.lend(stream)?;
                Ok(part.len())
            })?;
        }
        Ok(())
    }

    /// Copies from the device when all that was asked for is done, and waits for it.
    pub(super) fn download(&self, stream: sys::CUstream, from: u64, bytes: &mut [u8]) -> Result<(), Error> {
        for (at, part) in bytes.chunks_mut(LARGE).enumerate().map(|(i, part)| (i * LARGE, part)) {
            self.with(part.len(), |piece| {
                // SAFETY: the piece has that many bytes, and the GPU is done with them.
                let pinned = unsafe { from_raw_parts_mut(piece.at, part.len()) };
                // SAFETY: nobody looks at the piece until the stream is done, next; the source is a piece of a live allocation.
                unsafe { result::memcpy_dtoh_async(pinned, from + at as u64, stream) }
                    .map_err(failed("memory could not be copied from the GPU"))?;
                // SAFETY: the stream is live.
                unsafe { stream::synchronize(stream) }.map_err(failed("the GPU has failed"))?;
                // SAFETY: as above; the copy is over, and it has written all of them.
                part.copy_from_slice(unsafe { from_raw_parts(piece.at, part.len()) });
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Frees it all, when the GPU is done.
    pub(super) fn close(&self) {
        for piece in [&self.small, &self.large].into_iter().flat_map(|pieces| std::mem::take(&mut lock(pieces).lent)) {
            // SAFETY: made by `Piece::new`, freed here alone; the device is idle. What fails here has failed before.
            let _ = unsafe { result::free_host(piece.at.cast()).and_then(|()| event::destroy(piece.free)) };
        }
    }
}
