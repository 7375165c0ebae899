//! What an op says to the executor: which kernels to launch, with which parameters.

use bytemuck::Pod;
use statespace_plan::DType;

/// One launch of a kernel. Addresses are fixed when a program is loaded, so a program is a list of these, made once.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The module that has the kernel: the op's name.
    pub module: &'static str,
    /// The kernel.
    pub kernel: &'static str,
    /// Blocks: x below 2³¹, y and z below 65536.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub shared: u32,
    /// Whether its blocks are all there at the same time, and may wait for each other. The GPU has to have room for them all.
    pub together: bool,
    /// The one argument.
    pub params: Params,
}

/// A kernel's one argument: the bytes of a `#[repr(C)]` struct of addresses (`u64`), sizes (`i64`) and 32-bit numbers, the first of which is
/// eight bytes long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    words: Box<[u64]>,
    size: usize,
}

impl Params {
    /// The bytes of `value`.
    pub fn new<T: Pod>(value: T) -> Self {
        let mut words = vec![0; size_of::<T>().div_ceil(8)].into_boxed_slice();
        bytemuck::cast_slice_mut(&mut words)[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&value));
        Self { words, size: size_of::<T>() }
    }

    /// The bytes, at a multiple of 8.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.size]
    }
}

/// What a node is made of on the device.
#[derive(Clone, Debug)]
pub enum Step {
    /// A kernel of ours.
    Launch(Launch),
    /// `y = x weightᵀ + bias + residual` by cuBLASLt: 16-bit factors of one dtype, f32 sums.
    Gemm {
        /// Rows of x and y.
        rows: usize,
        /// Columns of x and of the weight.
        k: usize,
        /// Rows of the weight, columns of y.
        m: usize,
        /// x.
        x: Operand,
        /// The weight, (m, k), of x's dtype.
        weight: u64,
        /// y, f32 or bf16. With bf16 there is neither bias nor residual.
        y: Operand,
        /// Address of the bias, m f32, or 0.
        bias: u64,
        /// The residual, f32; may be y, or absent.
        residual: Operand,
        /// Address of memory for cuBLASLt.
        workspace: u64,
        /// Bytes there.
        workspace_bytes: usize,
    },
}

/// Where an operand lies on the device.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// 0 where an optional operand is absent.
    pub address: u64,
    /// Elements from row to row.
    pub ld: usize,
    /// Of its elements.
    pub dtype: DType,
}

impl Operand {
    /// An optional operand that is not there.
    pub const ABSENT: Self = Self { address: 0, ld: 0, dtype: DType::F32 };

    /// Whether it is there.
    pub fn is_present(&self) -> bool {
        self.address != 0
    }

    /// Whether every row begins at a multiple of `elements` elements (a power of two), as vectors of so many demand. One that is absent has
    /// no rows.
    pub fn is_aligned(&self, elements: usize) -> bool {
        let bytes = (elements * size(self.dtype)) as u64;
        self.address.is_multiple_of(bytes) && self.ld.is_multiple_of(elements)
    }
}

/// Bytes of an element.
pub fn size(dtype: DType) -> usize {
    match dtype {
        DType::F32 | DType::I32 | DType::U32 => 4,
        DType::Bf16 | DType::F16 => 2,
        DType::U8 => 1,
    }
}

/// A stored type by its number in `common.cuh`.
///
/// # Panics
/// On an integer type, which is never stored in several widths.
pub fn stored(dtype: DType) -> u32 {
    match dtype {
        DType::F32 => 0,
        DType::Bf16 => 1,
        DType::F16 => 2,
        DType::I32 | DType::U32 | DType::U8 => panic!("{dtype:?} is no floating type"),
    }
}

/// Values of the symbols of the op table; 0 where the op does not have one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// Batch rows.
    pub b: usize,
    /// Positions.
    pub l: usize,
    /// Width.
    pub d: usize,
    /// Channels.
    pub e: usize,
    /// Columns of a weight.
    pub k: usize,
    /// Rows of a weight.
    pub m: usize,
    /// States of a channel.
    pub n: usize,
    /// Vocabulary.
    pub v: usize,
    /// Width of a convolution.
    pub w: usize,
}

/// The GPU that launches are made for.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// The most dynamic shared memory that a block can be given, in bytes.
    pub shared_per_block_optin: u32,
    /// Compute capability.
    pub capability: (u32, u32),
}

/// A node: what every op's `launches` is given.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its dimensions.
    pub sizes: &'a Sizes,
    /// By position in the op table.
    pub inputs: &'a [Operand],
    /// By position in the op table.
    pub outputs: &'a [Operand],
    /// Address of as many bytes as [`scratch_bytes`](super::scratch_bytes) said; their contents do not matter.
    pub scratch: u64,
    /// Address of two `u32`: the step of the run, and what a launch may count up from 0 if it leaves 0 there.
    pub step: u64,
    /// Whether this is the last node that asks for the step: it adds one.
    pub ticks: bool,
    /// Address of a `Fault`, two 32-bit numbers: where a node reports an id that is not in its vocabulary.
    pub fault: u64,
    /// The node's id in the plan.
    pub node: u32,
    /// The GPU.
    pub device: Device,
    /// Whether cuBLASLt is there.
    pub gemm: bool,
    /// Whether rows of the outputs that are not valid may be written, too: nobody looks at them.
    pub whole: bool,
}

impl Call<'_> {
    /// Number of (b, l) rows, valid or not.
    pub fn rows(&self) -> usize {
        self.sizes.b * self.sizes.l
    }
}

/// Grid and block of a kernel whose blocks take a row and a stretch of columns, `width` columns a thread, and go on to the row as many rows
/// on as there are blocks in x, to the columns as many on as there are threads in y.
fn row_grid(rows: usize, columns: usize, width: usize) -> ([u32; 3], [u32; 3]) {
    let items = columns.div_ceil(width).max(1);
    let threads = items.next_multiple_of(32).min(256);
    ([rows.min(1 << 24) as u32, items.div_ceil(threads).min(65535) as u32, 1], [threads as u32, 1, 1])
}

/// One launch of blocks in a row and threads in a row, with that many bytes of dynamic shared memory.
pub fn launch_1d(module: &'static str, kernel: &'static str, [blocks, threads, shared]: [usize; 3], params: Params) -> Step {
    let (grid, block, shared) = ([blocks as u32, 1, 1], [threads as u32, 1, 1], shared as u32);
    Step::Launch(Launch { module, kernel, grid, block, shared, together: false, params })
}

/// One launch of an element-wise kernel on all rows of `columns`, made with `params`: the second of `kernels`, which takes four neighbours at
/// once, where `operands` and the width allow that, else the first. None where there is nothing to do.
pub fn element_wise<T: Pod>(
    call: &Call,
    (module, kernels): (&'static str, [&'static str; 2]),
    columns: usize,
    operands: &[&Operand],
    params: T,
) -> Vec<Step> {
    if call.rows() * columns == 0 {
        return Vec::new();
    }
    let vector = columns.is_multiple_of(4) && operands.iter().all(|operand| operand.is_aligned(4));
    let (grid, block) = row_grid(call.rows(), columns, if vector { 4 } else { 1 });
    let kernel = kernels[usize::from(vector)];
    vec![Step::Launch(Launch { module, kernel, grid, block, shared: 0, together: false, params: Params::new(params) })]
}
