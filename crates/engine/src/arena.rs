//! Memory of the spaces, and the typed, disjoint pieces of it that one node works on.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::marker::PhantomData;
use std::ptr::NonNull;

use bytemuck::Pod;
use statespace_ops::{Input, Mat, Rows, Stored, StoredInput, StoredOut};
use statespace_plan::{CheckedNode, DType};
use statespace_simd::SharedOut;

use crate::error::Error;
use crate::node::{Base, Node, Role, Slot};
use crate::weights::Bound;

/// Where arenas start; the offsets of a plan are multiples of it.
pub(crate) const ALIGN: usize = 256;

/// Zeroed bytes at a fixed, aligned address.
pub(crate) struct Arena {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: an arena owns its bytes, like a `Vec`, and gives them out by the usual rules of borrowing.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// That many zeros; none costs no memory.
    pub(crate) fn zeroed(bytes: usize) -> Result<Arena, Error> {
        if bytes == 0 {
            return Ok(Arena { base: NonNull::<Line>::dangling().cast(), bytes });
        }
        let refused = || Error::Memory { needed: bytes as u64 };
        let layout = Layout::from_size_align(bytes, ALIGN).map_err(|_| refused())?;
        // SAFETY: the layout is not empty.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(refused)?;
        Ok(Arena { base, bytes })
    }

    /// Number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `base` has this many initialized bytes, and `&self` keeps writers away.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.bytes) }
    }

    /// All bytes.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: `base` has this many initialized bytes, and `&mut self` keeps everyone else away.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.bytes) }
    }

    /// The first byte.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.base.as_ptr()
    }

    fn window(&mut self) -> Window<'_> {
        Window { base: self.base.as_ptr(), bytes: self.bytes, arena: PhantomData }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: allocated with this layout, which was valid then.
            unsafe { dealloc(self.base.as_ptr(), Layout::from_size_align_unchecked(self.bytes, ALIGN)) }
        }
    }
}

/// As aligned as an arena.
#[repr(align(256))]
struct Line(#[allow(dead_code)] [u8; ALIGN]);

/// An arena that pieces are cut from while it is borrowed.
#[derive(Clone, Copy)]
struct Window<'a> {
    base: *mut u8,
    bytes: usize,
    arena: PhantomData<&'a mut Arena>,
}

impl<'a> Window<'a> {
    fn at(self, slot: &Slot) -> *mut u8 {
        assert!(slot.start <= self.bytes && slot.span <= self.bytes - slot.start, "a piece lies outside its space");
        // SAFETY: in bounds, by the line above.
        unsafe { self.base.add(slot.start) }
    }

    fn read(self, slot: &Slot) -> &'a [u8] {
        let at = self.at(slot);
        // SAFETY: initialized bytes, in bounds. Nobody writes them while the node runs: the validator's rule 4 keeps live `temp` buffers apart,
        // rule 5 those of `state` and `io`, rule 2 refuses a second write of bytes that were written, which those read here were (gaps between
        // rows included), and an in-place pair or an updated input, the exceptions, is never read through this function (`Role`).
        unsafe { std::slice::from_raw_parts(at, slot.span) }
    }

    fn write<T: Pod>(self, slot: &Slot) -> SharedOut<'a, T> {
        let at = self.at(slot).cast::<T>();
        assert!(at.is_aligned(), "a piece is not aligned");
        // SAFETY: in bounds, aligned, and any bytes are a `T`. Nobody else has these bytes while the node runs: outputs and updated inputs of
        // one node are disjoint by rules 2 to 5, and what is read is disjoint from them, see `read`.
        SharedOut::new(unsafe { std::slice::from_raw_parts_mut(at, slot.span / size_of::<T>()) })
    }
}

/// The spaces that a program runs in.
pub(crate) struct Memory<'a> {
    /// Values between nodes.
    pub(crate) temp: &'a mut Arena,
    /// What lives from run to run.
    pub(crate) state: &'a mut Arena,
    /// Inputs and outputs.
    pub(crate) io: &'a mut Arena,
    /// What the parts of a node leave each other, between one pass and the next.
    pub(crate) board: &'a mut Arena,
    /// By row of the plan's `weights`.
    pub(crate) weights: &'a [Bound],
}

/// A result, by element type; 16-bit floats by their bits.
enum Out<'a> {
    F32(SharedOut<'a, f32>),
    Half(SharedOut<'a, u16>),
    I32(SharedOut<'a, i32>),
    U32(SharedOut<'a, u32>),
    U8(SharedOut<'a, u8>),
}

enum Operand<'a> {
    Absent,
    Read(&'a [u8]),
    InPlace,
    Write(Out<'a>),
}

const MAX_INPUTS: usize = 10;
const MAX_OUTPUTS: usize = 2;

/// One run of a node: its operands, to be handed to all parts. An operand is named by its position in the op table.
pub(crate) struct Job<'a> {
    /// The node.
    pub(crate) node: &'a Node,
    inputs: [Operand<'a>; MAX_INPUTS],
    outputs: [Operand<'a>; MAX_OUTPUTS],
    board: SharedOut<'a>,
}

// SAFETY: parts share the operands that are read, and of those that are written they take aliases (see `SharedOut::alias`); a job itself
// does not change.
unsafe impl Sync for Job<'_> {}

impl<'a> Job<'a> {
    /// Cuts the operands of `node` out of the memory, which it is the only one to use meanwhile. The node comes from a checked plan and its
    /// slots from [`crate::place`], which keeps apart what the plan keeps apart.
    pub(crate) fn new(memory: &'a mut Memory, node: &'a Node) -> Job<'a> {
        let (temp, state, io) = (memory.temp.window(), memory.state.window(), memory.io.window());
        let weights = memory.weights;
        let cut = |slot: &Slot| {
            let window = match slot.base {
                Base::Weight(row) => return Operand::Read(weights[row].bytes()),
                Base::Temp => temp,
                Base::State => state,
                Base::Io => io,
            };
            match slot.role {
                Role::Read => Operand::Read(window.read(slot)),
                Role::InPlace => Operand::InPlace,
                Role::Write => Operand::Write(match slot.dtype {
                    DType::F32 => Out::F32(window.write(slot)),
                    DType::Bf16 | DType::F16 => Out::Half(window.write(slot)),
                    DType::I32 => Out::I32(window.write(slot)),
                    DType::U32 => Out::U32(window.write(slot)),
                    DType::U8 => Out::U8(window.write(slot)),
                }),
            }
        };
        let inputs = std::array::from_fn(|i| node.inputs.get(i).and_then(Option::as_ref).map_or(Operand::Absent, cut));
        let outputs = std::array::from_fn(|i| node.outputs.get(i).map_or(Operand::Absent, cut));
        Job { node, inputs, outputs, board: SharedOut::new(bytemuck::cast_slice_mut(memory.board.bytes_mut())) }
    }

    fn bytes(&self, i: usize) -> Option<&'a [u8]> {
        match self.inputs[i] {
            Operand::Absent => None,
            Operand::Read(bytes) => Some(bytes),
            Operand::InPlace | Operand::Write(_) => panic!("input {i} of {} is not only read", self.node.op.name()),
        }
    }

    fn slot(&self, i: usize) -> &'a Slot {
        self.node.inputs[i].as_ref().unwrap_or_else(|| panic!("{} has no input {i}", self.node.op.name()))
    }

    /// Input `i`, if it is there.
    pub(crate) fn optional<T: Pod>(&self, i: usize) -> Option<&'a [T]> {
        self.bytes(i).map(bytemuck::cast_slice)
    }

    /// Input `i`.
    pub(crate) fn slice<T: Pod>(&self, i: usize) -> &'a [T] {
        self.optional(i).unwrap_or_else(|| panic!("{} has no input {i}", self.node.op.name()))
    }

    /// Input `i` with its pitch.
    pub(crate) fn mat<T: Pod>(&self, i: usize) -> Mat<'a, T> {
        Mat { data: self.slice(i), ld: self.pitch(i) }
    }

    /// Input `i`, which may lie in the output.
    pub(crate) fn input<T: Pod>(&self, i: usize) -> Input<'a, T> {
        if matches!(self.inputs[i], Operand::InPlace) { Input::InPlace } else { Input::Apart(self.mat(i)) }
    }

    /// Input `i`, which may lie in the output, if it is there.
    pub(crate) fn optional_input(&self, i: usize) -> Option<Input<'a>> {
        if matches!(self.inputs[i], Operand::Absent) { None } else { Some(self.input(i)) }
    }

    /// Input `i` in one of the stored types.
    pub(crate) fn stored_input(&self, i: usize) -> StoredInput<'a> {
        match self.slot(i).dtype {
            DType::Bf16 => StoredInput::Bf16(self.input(i)),
            DType::F16 => StoredInput::F16(self.input(i)),
            _ => StoredInput::F32(self.input(i)),
        }
    }

    /// The same, if it is there.
    pub(crate) fn optional_stored_input(&self, i: usize) -> Option<StoredInput<'a>> {
        if matches!(self.inputs[i], Operand::Absent) { None } else { Some(self.stored_input(i)) }
    }

    /// Input `i` in its stored width and any alignment.
    pub(crate) fn stored(&self, i: usize) -> Stored<'a> {
        let found = self.bytes(i).and_then(|bytes| Stored::new(self.slot(i).dtype, bytes));
        found.unwrap_or_else(|| panic!("{} has no floats as input {i}", self.node.op.name()))
    }

    /// Elements from row to row of input `i`.
    pub(crate) fn pitch(&self, i: usize) -> usize {
        self.slot(i).ld
    }

    /// The rows of the op, as its `lens` has them.
    pub(crate) fn rows(&self) -> Rows<'a> {
        let sizes = &self.node.sizes;
        Rows { b: sizes.b, l: sizes.l, lens: self.node.lens.and_then(|i| self.optional(i)) }
    }

    /// Output `i`, for one part, which asks for it once.
    pub(crate) fn out<T: Element>(&self, i: usize) -> SharedOut<'_, T> {
        T::alias(&self.outputs[i])
    }

    /// Input `i`, which the op updates, for one part, which asks for it once.
    pub(crate) fn update<T: Element>(&self, i: usize) -> SharedOut<'_, T> {
        T::alias(&self.inputs[i])
    }

    /// The board, for one part, which asks for it once.
    pub(crate) fn board(&self) -> SharedOut<'_> {
        // SAFETY: each part asks once, and the kernels' contract is that their parts are disjoint.
        unsafe { self.board.alias() }
    }

    /// Output `i` in one of the stored types, for one part, which asks for it once.
    pub(crate) fn stored_out(&self, i: usize) -> StoredOut<'_> {
        match self.node.outputs[i].dtype {
            DType::Bf16 => StoredOut::Bf16(self.out(i)),
            DType::F16 => StoredOut::F16(self.out(i)),
            _ => StoredOut::F32(self.out(i)),
        }
    }
}

/// What outputs are made of.
pub(crate) trait Element: Sized {
    #[allow(private_interfaces)]
    fn alias<'s>(operand: &'s Operand<'_>) -> SharedOut<'s, Self>;
}

macro_rules! element {
    ($type:ty, $variant:ident) => {
        impl Element for $type {
            #[allow(private_interfaces)]
            fn alias<'s>(operand: &'s Operand<'_>) -> SharedOut<'s, Self> {
                match operand {
                    // SAFETY: each part asks once, and the kernels' contract is that their parts are disjoint.
                    Operand::Write(Out::$variant(out)) => unsafe { out.alias() },
                    _ => panic!("an operand is not written as {}", stringify!($type)),
                }
            }
        }
    };
}
element!(f32, F32);
element!(u16, Half);
element!(i32, I32);
element!(u32, U32);
element!(u8, U8);

/// Whether a job has room for the operands of a node.
pub(crate) fn fits(node: &CheckedNode) -> bool {
    node.inputs.len() <= MAX_INPUTS && node.outputs.len() <= MAX_OUTPUTS
}
