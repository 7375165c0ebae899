//! Memory of the host that the GPU copies from and to by itself.

use std::slice::{from_raw_parts, from_raw_parts_mut};

use cudarc::driver::result::{self, event, stream};
use cudarc::driver::sys;

use super::{failed, new_event};
use crate::error::Error;

/// Bytes of a large piece: long enough for the bus, short enough to have one while the other is filled.
const LARGE: usize = 64 << 20;
/// Bytes of a small one, which inputs and results of a step fit in.
const SMALL: usize = 64 << 10;

/// Two pieces of one size, each with an event that says when the GPU is done with it.
#[derive(Default)]
pub(super) struct Staging {
    small: Option<[Piece; 2]>,
    large: Option<[Piece; 2]>,
    next: usize,
}

struct Piece {
    at: *mut u8,
    bytes: usize,
    free: sys::CUevent,
}

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

    /// The GPU works on it until all that was asked for is done.
    fn lend(&self, stream: sys::CUstream) -> Result<(), Error> {
        // SAFETY: event and stream are live.
        unsafe { event::record(self.free, stream) }.map_err(failed("an event could not be recorded"))
    }
}

impl Staging {
    /// The piece whose turn it is, for this many bytes at least or as many as there are in one.
    fn turn(&mut self, bytes: usize) -> Result<&Piece, Error> {
        let (pieces, size) = if bytes <= SMALL { (&mut self.small, SMALL) } else { (&mut self.large, LARGE) };
        if pieces.is_none() {
            *pieces = Some([Piece::new(size)?, Piece::new(size)?]);
        }
        self.next ^= 1;
        let pieces = pieces.as_ref().expect("made above");
        pieces[self.next].settle()?;
        Ok(&pieces[self.next])
    }

    /// Copies to the device; `bytes` are free again when it returns.
    pub(super) fn upload(&mut self, stream: sys::CUstream, to: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut at = 0;
        while at < bytes.len() {
            let piece = self.turn(bytes.len() - at)?;
            let part = &bytes[at..(at + piece.bytes).min(bytes.len())];
            // SAFETY: the piece has that many bytes, and the GPU is done with them.
            let pinned = unsafe { from_raw_parts_mut(piece.at, part.len()) };
            pinned.copy_from_slice(part);
            // SAFETY: the piece is not written again until the event below has come; the target is a piece of a live allocation.
            unsafe { result::memcpy_htod_async(to + at as u64, pinned, stream) }
                .map_err(failed("memory could not be copied to the GPU"))?;
            piece.lend(stream)?;
            at += part.len();
        }
        Ok(())
    }

    /// Copies from the device when all that was asked for is done, and waits for it.
    pub(super) fn download(&mut self, stream: sys::CUstream, from: u64, bytes: &mut [u8]) -> Result<(), Error> {
        for (at, part) in bytes.chunks_mut(LARGE).enumerate().map(|(i, part)| (i * LARGE, part)) {
            let piece = self.turn(part.len())?;
            // SAFETY: the piece has that many bytes, and the GPU is done with them.
            let pinned = unsafe { from_raw_parts_mut(piece.at, part.len()) };
            // SAFETY: nobody looks at the piece until the stream is done, next; the source is a piece of a live allocation.
            unsafe { result::memcpy_dtoh_async(pinned, from + at as u64, stream) }
                .map_err(failed("memory could not be copied from the GPU"))?;
            // SAFETY: the stream is live.
            unsafe { stream::synchronize(stream) }.map_err(failed("the GPU has failed"))?;
            // SAFETY: as above; the copy is over, and it has written all of them.
            part.copy_from_slice(unsafe { from_raw_parts(piece.at, part.len()) });
        }
        Ok(())
    }

    /// Frees it all, when the GPU is done.
    pub(super) fn close(&mut self) {
        for piece in [self.small.take(), self.large.take()].into_iter().flatten().flatten() {
            // SAFETY: made by `Piece::new`, freed here alone; the device is idle. What fails here has failed before.
            let _ = unsafe { result::free_host(piece.at.cast()).and_then(|()| event::destroy(piece.free)) };
        }
    }
}
