//! Tensors of checkpoints: mapped or owned bytes, and the forms of them that kernels ask for.

use std::collections::HashMap;
#[cfg(not(target_family = "wasm"))]
use std::fs;
use std::ops::Range;
#[cfg(not(target_family = "wasm"))]
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(not(target_family = "wasm"))]
use memmap2::Mmap;
use serde::Deserialize;
use statespace_plan::{Conversion, DType, Weight};

use crate::arena::Arena;
use crate::convert::widen;
use crate::cuda::Residents;
use crate::error::Error;

/// A file of a checkpoint.
#[cfg(not(target_family = "wasm"))]
#[derive(Clone, Debug)]
pub enum File {
    /// On disk.
    Path(PathBuf),
    /// In memory.
    Bytes(Vec<u8>),
}

/// Where a tensor lies.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSource {
    /// Its name; plans refer to it.
    pub name: String,
    /// Index of its file.
    pub file: usize,
    /// Bytes from the start of the file. Any number: files promise no alignment.
    pub offset: u64,
    /// Length.
    pub bytes: u64,
    /// Element type.
    pub dtype: DType,
    /// Axes, outermost first.
    pub shape: Vec<u64>,
}

/// A checkpoint.
#[cfg(not(target_family = "wasm"))]
#[derive(Clone, Debug)]
pub struct Source {
    /// Its files.
    pub files: Vec<File>,
    /// Its tensors.
    pub tensors: Vec<TensorSource>,
    /// Whether files on disk are mapped, which a program that truncates them would turn into a crash, or else copied.
    pub mmap: bool,
}

pub(crate) enum Bytes {
    #[cfg(not(target_family = "wasm"))]
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    fn all(&self) -> &[u8] {
        match self {
            #[cfg(not(target_family = "wasm"))]
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

struct Tensor {
    name: String,
    file: usize,
    range: Range<usize>,
    dtype: DType,
    shape: Vec<u64>,
}

/// A form of a tensor, aligned: its index, its type, whether the values are negated exponentials, whether axes are swapped.
pub(crate) type Form = (usize, DType, bool, bool);

/// Where the tensors of a checkpoint lie.
pub(crate) struct Directory {
    tensors: Vec<Tensor>,
    names: HashMap<String, usize>,
}

impl Directory {
    /// Checks that every tensor lies in its file; `files` has their lengths.
    pub(crate) fn new(files: &[u64], sources: Vec<TensorSource>) -> Result<Directory, Error> {
        let mut names = HashMap::with_capacity(sources.len());
        let mut tensors = Vec::with_capacity(sources.len());
        for tensor in sources {
            let TensorSource { name, file, offset, bytes, dtype, shape } = tensor;
            let size = shape.iter().try_fold(dtype.size(), |n, axis| n.checked_mul(*axis));
            if size != Some(bytes) {
                return Err(Error::weights(&name, format!("has {bytes} bytes, but {shape:?} of {} has another number", dtype.name())));
            }
            let length = *files.get(file).ok_or_else(|| Error::weights(&name, format!("is in file {file} of {}", files.len())))?;
            let end = offset.checked_add(bytes).filter(|end| *end <= length);
            let end = end.ok_or_else(|| Error::weights(&name, format!("ends beyond its file of {length} bytes")))?;
            let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
            let (start, end) = range.ok_or(Error::Memory { needed: length })?;
            if names.insert(name.clone(), tensors.len()).is_some() {
                return Err(Error::weights(&name, "is there twice"));
            }
            tensors.push(Tensor { name, file, range: start..end, dtype, shape });
        }
        Ok(Directory { tensors, names })
    }
}

/// An open checkpoint. Forms are made once and live as long as it does.
pub(crate) struct Weights {
    files: Vec<Bytes>,
    tensors: Vec<Tensor>,
    names: HashMap<String, usize>,
    forms: Mutex<HashMap<Form, Arc<Arena>>>,
    wide: Mutex<HashMap<Form, Arc<Vec<f64>>>>,
    /// What a GPU has of it.
    pub(crate) residents: Residents,
}

/// The bytes of a row of a plan's `weights`. Keeps them alive.
pub(crate) enum Bound {
    Tensor(Arc<Weights>, usize),
    Form(Arc<Arena>),
}

impl Bound {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Bound::Tensor(weights, tensor) => weights.bytes_of(*tensor),
            Bound::Form(arena) => arena.bytes(),
        }
    }
}

impl Weights {
    /// Opens the files and checks that every tensor lies in its own.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn open(source: Source) -> Result<Weights, Error> {
        let files = source.files.into_iter().map(|file| open(file, source.mmap)).collect::<Result<Vec<_>, _>>()?;
        let lengths: Vec<u64> = files.iter().map(|file| file.all().len() as u64).collect();
        Ok(Weights::new(files, Directory::new(&lengths, source.tensors)?))
    }

    /// Of files as long as the directory was told.
    pub(crate) fn new(files: Vec<Bytes>, directory: Directory) -> Weights {
        let Directory { tensors, names } = directory;
        Weights { files, tensors, names, forms: Mutex::default(), wide: Mutex::default(), residents: Residents::default() }
    }

    fn bytes_of(&self, tensor: usize) -> &[u8] {
        let tensor = &self.tensors[tensor];
        &self.files[tensor.file].all()[tensor.range.clone()]
    }

    /// Bytes of all tensors and of the forms made of them.
    pub(crate) fn bytes(&self) -> u64 {
        let tensors: usize = self.tensors.iter().map(|tensor| tensor.range.len()).sum();
        let forms: usize = lock(&self.forms).values().map(|arena| arena.len()).sum();
        let wide: usize = lock(&self.wide).values().map(|values| values.len() * 8).sum();
        (tensors + forms + wide) as u64
    }

    /// Name of the first tensor that holds a NaN or an infinity.
    pub(crate) fn first_non_finite(&self) -> Option<String> {
        let bad = |i: &usize| {
            let bytes = self.bytes_of(*i);
            match self.tensors[*i].dtype {
                DType::F32 => exponent_full::<4>(bytes, |b| u32::from_le_bytes(b) & 0x7F80_0000 == 0x7F80_0000),
                DType::Bf16 => exponent_full::<2>(bytes, |b| u16::from_le_bytes(b) & 0x7F80 == 0x7F80),
                DType::F16 => exponent_full::<2>(bytes, |b| u16::from_le_bytes(b) & 0x7C00 == 0x7C00),
                DType::I32 | DType::U32 | DType::U8 => false,
            }
        };
        (0..self.tensors.len()).find(bad).map(|i| self.tensors[i].name.clone())
    }

    /// The tensor of a row, if it is what the row says.
    fn find(&self, row: &Weight) -> Result<usize, Error> {
        let index = *self.names.get(&row.key).ok_or_else(|| Error::weights(&row.key, "is not in the checkpoint"))?;
        let tensor = &self.tensors[index];
        let float = matches!(tensor.dtype, DType::F32 | DType::Bf16 | DType::F16);
        let dtype = if row.conversion == Conversion::Stored { tensor.dtype } else { DType::F32 };
        let squeezed = |shape: &[u64]| shape.iter().copied().filter(|axis| *axis != 1).collect::<Vec<_>>();
        let shapes_agree = if row.transpose {
            let mut swapped = squeezed(&tensor.shape);
            swapped.reverse();
            swapped.len() <= 2 && swapped == squeezed(&row.shape)
        } else {
            tensor.shape == row.shape
        };
        if row.dtype != dtype || !shapes_agree || row.conversion != Conversion::Stored && !float {
            let (has, wants) = (tensor.dtype.name(), row.dtype.name());
            let transposed = if row.transpose { " transposed" } else { "" };
            let message = format!("is {has} {:?}; the plan wants it{transposed} as {wants} {:?}", tensor.shape, row.shape);
            return Err(Error::weights(&row.key, message));
        }
        Ok(index)
    }

    /// The bytes of a row. `aligned` asks for an address that is a multiple of the element size; conversions always have one.
    pub(crate) fn bind(self: &Arc<Self>, row: &Weight, aligned: bool) -> Result<Bound, Error> {
        let index = self.find(row)?;
        let bytes = self.bytes_of(index);
        let as_is = self.is_as_is(index, row);
        if as_is && (!aligned || bytes.as_ptr().addr().is_multiple_of(row.dtype.size() as usize)) {
            return Ok(Bound::Tensor(self.clone(), index));
        }
        let form = form(index, row);
        if let Some(made) = lock(&self.forms).get(&form) {
            return Ok(Bound::Form(made.clone()));
        }
        let arena = if as_is {
            let mut arena = Arena::zeroed(bytes.len())?;
            arena.bytes_mut().copy_from_slice(bytes);
            arena
        } else {
            self.converted(index, row)?
        };
        let made = Arc::new(arena);
        lock(&self.forms).insert(form, made.clone());
        Ok(Bound::Form(made))
    }

    /// Whether a row's bytes are the tensor's own.
    fn is_as_is(&self, index: usize, row: &Weight) -> bool {
        let is_plain = row.conversion == Conversion::F32 && !row.transpose;
        row.conversion == Conversion::Stored || is_plain && self.tensors[index].dtype == DType::F32
    }

    /// The values of a row that is not as it is in the file.
    fn converted(&self, index: usize, row: &Weight) -> Result<Arena, Error> {
        let tensor = &self.tensors[index];
        let mut arena = Arena::zeroed(tensor.range.len() / tensor.dtype.size() as usize * 4)?;
        let values: &mut [f32] = bytemuck::cast_slice_mut(arena.bytes_mut());
        self.convert(index, row, |at, value| values[at] = value as f32);
        Ok(arena)
    }

    /// The form of a row, and its length in bytes.
    #[cfg(feature = "cuda")]
    pub(crate) fn form(&self, row: &Weight) -> Result<(Form, usize), Error> {
        let index = self.find(row)?;
        let tensor = &self.tensors[index];
        Ok((form(index, row), tensor.range.len() / tensor.dtype.size() as usize * row.dtype.size() as usize))
    }

    /// Hands out the bytes of a row, made for the occasion where they are not the tensor's own.
    #[cfg(feature = "cuda")]
    pub(crate) fn formed<T>(&self, row: &Weight, take: impl FnOnce(&[u8]) -> Result<T, Error>) -> Result<T, Error> {
        let index = self.find(row)?;
        if self.is_as_is(index, row) { take(self.bytes_of(index)) } else { take(self.converted(index, row)?.bytes()) }
    }

    /// The values of a row, in f64.
    #[cfg(feature = "reference")]
    pub(crate) fn widened(&self, row: &Weight) -> Result<Arc<Vec<f64>>, Error> {
        let index = self.find(row)?;
        let form = form(index, row);
        if let Some(made) = lock(&self.wide).get(&form) {
            return Ok(made.clone());
        }
        let mut values = vec![0.0; self.tensors[index].range.len() / self.tensors[index].dtype.size() as usize];
        self.convert(index, row, |at, value| values[at] = value);
        let made = Arc::new(values);
        lock(&self.wide).insert(form, made.clone());
        Ok(made)
    }

    /// Calls `put(index, value)` for every element of a row.
    fn convert(&self, index: usize, row: &Weight, mut put: impl FnMut(usize, f64)) {
        let Tensor { dtype, ref shape, .. } = self.tensors[index];
        // As `find` has seen, at most two axes are longer than 1 where they are swapped.
        let columns = shape.iter().rev().copied().find(|axis| *axis != 1).unwrap_or(1) as usize;
        let rows = shape.iter().product::<u64>() as usize / columns.max(1);
        widen(dtype, self.bytes_of(index), |i, value| {
            let at = if row.transpose { i % columns * rows + i / columns } else { i };
            put(at, if row.conversion == Conversion::Negexp { -value.exp() } else { value });
        });
    }
}

fn form(index: usize, row: &Weight) -> Form {
    (index, row.dtype, row.conversion == Conversion::Negexp, row.transpose)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What it guards is whole at all times.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether `full` is true of an element. By blocks, each without a way out, so that it becomes vector code.
fn exponent_full<const N: usize>(bytes: &[u8], full: impl Fn([u8; N]) -> bool) -> bool {
    bytes.chunks(4096).any(|block| block.as_chunks::<N>().0.iter().fold(false, |any, element| any | full(*element)))
}

#[cfg(not(target_family = "wasm"))]
fn open(file: File, mmap: bool) -> Result<Bytes, Error> {
    match file {
        File::Bytes(bytes) => Ok(Bytes::Owned(bytes)),
        File::Path(path) if mmap => map(&path).map_err(|error| unreadable(&path, &error)),
        File::Path(path) => fs::read(&path).map(Bytes::Owned).map_err(|error| match error.kind() {
            std::io::ErrorKind::OutOfMemory => Error::Memory { needed: fs::metadata(&path).map_or(0, |data| data.len()) },
            _ => unreadable(&path, &error),
        }),
    }
}

#[cfg(not(target_family = "wasm"))]
fn map(path: &Path) -> std::io::Result<Bytes> {
    let file = fs::File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::Owned(Vec::new())); // nothing cannot be mapped
    }
    // SAFETY: the map is read only. That nobody changes the file meanwhile is the caller's promise, made by asking for a map; the bytes are
    // only ever taken as numbers, of which every pattern is one.
    Ok(Bytes::Mapped(unsafe { Mmap::map(&file) }?))
}

#[cfg(not(target_family = "wasm"))]
fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::File { file: path.display().to_string(), message: error.to_string() }
}
