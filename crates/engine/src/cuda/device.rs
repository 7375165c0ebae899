//! What the executor asks of a device, and the memory it gets there. All of it is done in the order it is asked for.

use std::sync::Arc;

use statespace_ops::cuda::{Device as Facts, Step};

use crate::error::Error;
use crate::options::DeviceInfo;

/// A device with one queue of work.
pub(crate) trait Device: Send + Sync {
    /// What it says about itself.
    fn info(&self) -> &DeviceInfo;
    /// What kernels are chosen by.
    fn facts(&self) -> Facts;
    /// Whether it runs [`Step::Gemm`].
    fn gemm(&self) -> bool;
    /// Starts what the first [`Step::Gemm`] would wait for.
    fn ready(&self) -> Result<(), Error> {
        Ok(())
    }
    /// Bytes that are free.
    fn free(&self) -> Result<u64, Error>;
    /// The address, a multiple of 256, of that many bytes, at least one, of any content.
    fn alloc(&self, bytes: usize) -> Result<u64, Error>;
    /// Frees what [`Device::alloc`] gave, once nothing asked for uses it any more.
    fn dealloc(&self, address: u64);
    /// Copies bytes there; they are taken before it returns.
    fn upload(&self, to: u64, bytes: &[u8]) -> Result<(), Error>;
    /// Copies bytes from there; waits for them.
    fn download(&self, from: u64, bytes: &mut [u8]) -> Result<(), Error>;
    /// Copies there from there.
    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), Error>;
    /// Fills with a byte.
    fn fill(&self, to: u64, bytes: usize, value: u8) -> Result<(), Error>;
    /// Makes steps ready to be submitted: to be called before, once; may take long.
    fn prepare(&self, steps: &[Step]) -> Result<(), Error>;
    /// Asks for prepared steps, one after the other.
    fn submit(&self, steps: &[Step]) -> Result<(), Error>;
    /// Keeps prepared steps as a graph to be replayed, without doing them.
    fn capture(&self, steps: &[Step]) -> Result<u64, Error>;
    /// Asks for the steps of a graph.
    fn replay(&self, graph: u64) -> Result<(), Error>;
    /// Frees a graph.
    fn discard(&self, graph: u64);
    /// Marks the present end of the queue, in one of [`MARKS`] places.
    fn mark(&self, place: usize) -> Result<(), Error>;
    /// Waits until what was asked for before a mark is done.
    fn wait(&self, place: usize) -> Result<(), Error>;
    /// Waits until all is done.
    fn synchronize(&self) -> Result<(), Error>;
}

/// Marks that a device keeps.
pub(crate) const MARKS: usize = 2;

/// Bytes on a device, freed in the end. Empty ones have an address, too: a null one says that an operand is absent.
pub(crate) struct Buffer {
    device: Arc<dyn Device>,
    address: u64,
    bytes: usize,
}

impl Buffer {
    /// That many zeros.
    pub(crate) fn zeroed(device: &Arc<dyn Device>, bytes: usize) -> Result<Buffer, Error> {
        let address = if bytes == 0 { 256 } else { device.alloc(bytes)? };
        let buffer = Buffer { device: device.clone(), address, bytes };
        buffer.fill(0, bytes, 0)?;
        Ok(buffer)
    }

    /// Number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Where it is.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    fn range(&self, start: usize, bytes: usize) -> u64 {
        assert!(start <= self.bytes && bytes <= self.bytes - start, "a piece lies outside its space");
        self.address + start as u64
    }

    /// Writes bytes at an offset.
    pub(crate) fn put(&self, start: usize, bytes: &[u8]) -> Result<(), Error> {
        let to = self.range(start, bytes.len());
        if bytes.is_empty() { Ok(()) } else { self.device.upload(to, bytes) }
    }

    /// Bytes at an offset, when all that was asked for before is done.
    pub(crate) fn get(&self, start: usize, bytes: usize) -> Result<Vec<u8>, Error> {
        let (from, mut found) = (self.range(start, bytes), vec![0; bytes]);
        if bytes > 0 {
            self.device.download(from, &mut found)?;
        }
        Ok(found)
    }

    /// Fills bytes at an offset.
    pub(crate) fn fill(&self, start: usize, bytes: usize, value: u8) -> Result<(), Error> {
        let to = self.range(start, bytes);
        if bytes == 0 { Ok(()) } else { self.device.fill(to, bytes, value) }
    }

    /// Takes the bytes of one of equal length.
    pub(crate) fn copy_from(&self, from: &Buffer) -> Result<(), Error> {
        assert_eq!(self.bytes, from.bytes, "copies are between equals");
        if self.bytes == 0 { Ok(()) } else { self.device.copy(self.address, from.address, self.bytes) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.device.dealloc(self.address);
        }
    }
}

/// A captured sequence of steps.
pub(crate) struct Graph {
    device: Arc<dyn Device>,
    graph: u64,
}

impl Graph {
    pub(crate) fn new(device: &Arc<dyn Device>, steps: &[Step]) -> Result<Graph, Error> {
        Ok(Graph { device: device.clone(), graph: device.capture(steps)? })
    }

    pub(crate) fn replay(&self) -> Result<(), Error> {
        self.device.replay(self.graph)
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        self.device.discard(self.graph);
    }
}
