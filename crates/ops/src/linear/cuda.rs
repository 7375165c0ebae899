//! Launches of `kernel.cu`.
//!
//! | rows of x | factors | way |
//! |---|---|---|
//! | 1 | columns that fit a kernel of [`step`](crate::step) | that |
//! | ≤ 8 | other | *few*: W is streamed once for up to 8 rows |
//! | > 8 (f32 W: > 32) | bf16, k a multiple of 8, cuBLASLt is there | *gemm*: x, unless it is bf16, and an f32 W by blocks, are rounded before it |
//! | ≤ 32 | other | few, once for each 8 rows |
//! | > 32 | other | *tile* |
//!
//! Only *gemm* takes a bf16 x and writes a bf16 y.

use bytemuck::{Pod, Zeroable};
use statespace_plan::DType;
use statespace_plan::ops::{Compute, LinearAttrs};

use crate::cuda::{Call, Launch, Operand, Params, Step, size, stored};
use crate::step;

/// As in `kernel.cu`.
const THREADS: usize = 256;
const WARPS: usize = THREADS / 32;
const GROUP: usize = 4;
const TILE_ROWS: usize = 64;
const TILE_COLUMNS: usize = 128;

/// Rows of x above which W is better rounded and multiplied by tensor cores than streamed once for each eight.
const MANY: usize = 32;
/// Memory for cuBLASLt: what NVIDIA advises on Hopper.
const WORKSPACE: usize = 32 << 20;
/// The most that one kernel leaves for the next at once, for each multiprocessor: so much stays in the L2 cache, which has 0.3 to 0.6 MB for each.
pub(crate) const BETWEEN: usize = 256 << 10;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct LinearParams {
    x: u64,
    weight: u64,
    bias: u64,
    residual: u64,
    y: u64,
    lens: u64,
    ldx: u64,
    ldr: u64,
    ldy: u64,
    rows: u32,
    l: u32,
    k: u32,
    m: u32,
    rounds: u32,
    split: u32,
    chunk: u32,
    aligned: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct LinearRoundParams {
    x: u64,
    to: u64,
    scale: u64,
    lens: u64,
    ldx: u64,
    l: u32,
    k: u32,
    aligned: u32,
    unused: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct LinearFinishParams {
    part: u64,
    scale: u64,
    bias: u64,
    residual: u64,
    y: u64,
    lens: u64,
    ldp: u64,
    ldr: u64,
    ldy: u64,
    l: u32,
    m: u32,
    dtype: u32,
    unused: u32,
}

/// `y` may be the residual.
pub fn launches(call: &Call, attrs: &LinearAttrs) -> Vec<Step> {
    if let Some(step) = step::linear(call, attrs, None, None) {
        return vec![step];
    }
    let (product, out) = parts(call, attrs);
    let mut steps = product.prepare();
    steps.extend(product.columns(0, call.sizes.m, &out));
    steps
}

/// Bytes of scratch.
pub fn scratch_bytes(call: &Call, attrs: &LinearAttrs) -> u64 {
    let (product, out) = parts(call, attrs);
    product.scratch_bytes(call.sizes.m, &out)
}

/// Whether x may be, and whether y may be, bf16.
pub fn takes_bf16(call: &Call, attrs: &LinearAttrs) -> [bool; 2] {
    let (product, _) = parts(call, attrs);
    let gemm = product.way() == Way::Gemm;
    // For an f16 W each row of x is scaled.
    [gemm && product.weight.dtype != DType::F16, gemm]
}

fn parts<'a>(call: &'a Call, attrs: &LinearAttrs) -> (Product<'a>, Out) {
    let ([x, weight, bias, residual, lens], [y]) = (call.inputs, call.outputs) else { panic!("operands of linear") };
    let product = Product { call, compute: attrs.compute, x: *x, weight: *weight, lens: lens.address, scratch: call.scratch };
    (product, Out { y: *y, bias: bias.address, residual: *residual, whole: call.whole || !lens.is_present() })
}

/// Where a product goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    /// Of its first column.
    pub(crate) y: Operand,
    /// Of its first column, or 0.
    pub(crate) bias: u64,
    /// Of its first column, or absent.
    pub(crate) residual: Operand,
    /// Whether rows that are not valid may be written.
    pub(crate) whole: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Few,
    Tile,
    Gemm,
}

/// `x·Wᵀ`, to be computed by blocks of columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product<'a> {
    pub(crate) call: &'a Call<'a>,
    pub(crate) compute: Compute,
    pub(crate) x: Operand,
    pub(crate) weight: Operand,
    /// Address, or 0.
    pub(crate) lens: u64,
    /// Address, at a multiple of 256.
    pub(crate) scratch: u64,
}

/// Addresses in the scratch of a product by cuBLASLt; 0 bytes for the other ways.
struct Layout {
    x: u64,
    scale: u64,
    weight: u64,
    part: u64,
    workspace: u64,
    end: u64,
    /// The most columns at once.
    width: usize,
}

impl Product<'_> {
    fn way(&self) -> Way {
        let (rows, k) = (self.call.rows(), self.call.sizes.k);
        let gemm = self.call.gemm && self.compute == Compute::Bf16 && k > 0 && k.is_multiple_of(8);
        match rows {
            0..=8 => Way::Few,
            _ if gemm && (rows > MANY || self.weight.dtype != DType::F32) => Way::Gemm,
            _ if rows <= MANY => Way::Few,
            _ => Way::Tile,
        }
    }

    /// Whether cuBLASLt writes y as it is to be.
    fn is_direct(&self, out: &Out) -> bool {
        out.whole && self.weight.dtype != DType::F16 && (out.y.dtype == DType::F32 || out.bias == 0 && !out.residual.is_present())
    }

    fn layout(&self, columns: usize, direct: bool) -> Layout {
        let (rows, k) = (self.call.rows(), self.call.sizes.k);
        if self.way() != Way::Gemm {
            return Layout { x: 0, scale: 0, weight: 0, part: 0, workspace: 0, end: 0, width: columns };
        }
        let between = BETWEEN * self.call.device.multiprocessors as usize;
        let left = [(!direct, 4 * rows), (self.weight.dtype == DType::F32, 2 * k)].into_iter().filter(|(is_left, _)| *is_left);
        let most = left.map(|(_, bytes)| between / bytes).min().unwrap_or(columns);
        // A weight's block begins at a multiple of 256 bytes, as cuBLASLt's best kernels want it.
        let width = if most < columns { (most / TILE_COLUMNS).max(1) * TILE_COLUMNS } else { columns };
        let mut end = self.scratch;
        let mut take = |bytes: usize| {
            let start = end;
            end = (end + bytes as u64).next_multiple_of(256);
            start
        };
        let (x, scale) = (take(if self.x.dtype == DType::F32 { 2 * rows * k } else { 0 }), take(4 * rows));
        let weight = take(if self.weight.dtype == DType::F32 { 2 * width * k } else { 0 });
        let (part, workspace) = (take(if direct { 0 } else { 4 * rows * width }), take(WORKSPACE));
        Layout { x, scale, weight, part, workspace, end: end - self.scratch, width }
    }

    /// Bytes of scratch for blocks of up to `columns` columns.
    pub(crate) fn scratch_bytes(&self, columns: usize, out: &Out) -> u64 {
        self.layout(columns, self.is_direct(out)).end
    }

    /// What is to be done once, before any block.
    pub(crate) fn prepare(&self) -> Vec<Step> {
        let (rows, k) = (self.call.rows(), self.call.sizes.k);
        if self.way() != Way::Gemm || self.call.sizes.m == 0 || self.x.dtype != DType::F32 {
            return Vec::new();
        }
        // Neither address depends on the width of blocks.
        let Layout { x, scale, .. } = self.layout(0, true);
        let scale = if self.weight.dtype == DType::F16 { scale } else { 0 };
        vec![round(self.x, x, scale, self.lens, [rows, self.call.sizes.l, k])]
    }

    /// Columns `first` … `first + count` of the product.
    pub(crate) fn columns(&self, first: usize, count: usize, out: &Out) -> Vec<Step> {
        let weight = self.weight.address + (first * self.call.sizes.k * size(self.weight.dtype)) as u64;
        if self.call.rows() * count == 0 {
            return Vec::new();
        }
        match self.way() {
            Way::Few => vec![self.few(weight, count, out)],
            Way::Tile => vec![self.tile(weight, count, out)],
            Way::Gemm => {
                let Layout { width, .. } = self.layout(count, self.is_direct(out));
                let blocks = (0..count).step_by(width).map(|start| (start, width.min(count - start)));
                blocks.flat_map(|(start, width)| self.gemm(weight, start, width, count, out)).collect()
            }
        }
    }

    fn few(&self, weight: u64, count: usize, out: &Out) -> Step {
        let (rows, k, multiprocessors) = (self.call.rows(), self.call.sizes.k, self.call.device.multiprocessors as usize);
        let is_ragged = !self.is_aligned(weight);
        let (at_once, kind) = match rows {
            _ if is_ragged => (8, "ragged"),
            1..=4 => (4, "few4"),
            _ => (8, "few8"),
        };
        let lane = 16 / size(self.weight.dtype);
        let step = 32 * lane;
        // All of x if it fits. Else so many columns that `split` warps take the same number of steps each; two blocks of 96 kB fit everywhere
        // from compute capability 8.0 on.
        let budget = 24576 / at_once;
        let chunk = Some(k.next_multiple_of(step)).filter(|&all| all <= budget).unwrap_or(budget);
        // The same for any number of rows, and with it the order of the sums.
        let most = if k <= 3072 { 8 } else { 4 };
        let mut split = 1;
        while split < most && split * step < k && count.div_ceil(GROUP) * split < 32 * multiprocessors {
            split *= 2;
        }
        let passes = rows.div_ceil(at_once);
        let groups = count.div_ceil(GROUP * (WARPS / split));
        // As many blocks as are there at once, or fewer that all have the same to do.
        let at_a_time = (multiprocessors * 2 / passes).max(1);
        let blocks = groups.div_ceil(groups.div_ceil(at_a_time)) * passes;
        let kernel = kernel(kind, self.weight.dtype);
        self.launch(
            kernel,
            blocks,
            4 * at_once * chunk,
            LinearParams { split: split as u32, chunk: chunk as u32, ..self.params(weight, count, out) },
        )
    }

    fn tile(&self, weight: u64, count: usize, out: &Out) -> Step {
        let blocks = self.call.rows().div_ceil(TILE_ROWS) * count.div_ceil(TILE_COLUMNS);
        self.launch(kernel("tile", self.weight.dtype), blocks, 0, self.params(weight, count, out))
    }

    fn launch(&self, kernel: &'static str, blocks: usize, shared: usize, params: LinearParams) -> Step {
        launch(kernel, blocks, shared, Params::new(params))
    }

    /// Whether sixteen bytes of W may be loaded at once.
    fn is_aligned(&self, weight: u64) -> bool {
        weight.is_multiple_of(16) && (self.call.sizes.k * size(self.weight.dtype)).is_multiple_of(16)
    }

    fn params(&self, weight: u64, count: usize, out: &Out) -> LinearParams {
        let k = self.call.sizes.k;
        LinearParams {
            x: self.x.address,
            weight,
            bias: out.bias,
            residual: out.residual.address,
            y: out.y.address,
            lens: self.lens,
            ldx: self.x.ld as u64,
            ldr: out.residual.ld as u64,
            ldy: out.y.ld as u64,
            rows: self.call.rows() as u32,
            l: self.call.sizes.l as u32,
            k: k as u32,
            m: count as u32,
            rounds: u32::from(self.compute == Compute::Bf16),
            split: 1,
            chunk: 0,
            aligned: u32::from(vectors(self.x, k)) | u32::from(self.is_aligned(weight)) << 1,
        }
    }

    /// Columns `start` … `start + width` of `out`, which has `count`, by cuBLASLt.
    ///
    /// It writes a whole rectangle, and knows no rows that are not valid nor a scale for each. Where it cannot write y itself, it writes beside it
    /// what `linear_finish` then adds up. Where the residual is y it adds onto it: a row of x that is not valid has been filled with zeros, so that
    /// such a row of y keeps its values.
    fn gemm(&self, weight: u64, start: usize, width: usize, count: usize, out: &Out) -> Vec<Step> {
        let (rows, k, direct) = (self.call.rows(), self.call.sizes.k, self.is_direct(out));
        let layout = self.layout(count, direct);
        let mut steps = Vec::new();
        let (mut weight, mut dtype) = (weight + (start * k * size(self.weight.dtype)) as u64, self.weight.dtype);
        if dtype == DType::F32 {
            steps.push(round(Operand { address: weight, ld: k, dtype }, layout.weight, 0, 0, [width, width, k]));
            (weight, dtype) = (layout.weight, DType::Bf16);
        }
        let at = |address: u64, size: usize| if address == 0 { 0 } else { address + (size * start) as u64 };
        let y = Operand { address: at(out.y.address, size(out.y.dtype)), ..out.y };
        let (residual, bias) = (Operand { address: at(out.residual.address, 4), ..out.residual }, at(out.bias, 4));
        let scaled = dtype == DType::F16;
        let x = if self.x.dtype == DType::F32 { Operand { address: layout.x, ld: k, dtype } } else { self.x };
        let onto = residual.address == y.address && bias == 0 && !scaled && self.x.dtype == DType::F32;
        let part = Operand { address: layout.part, ld: layout.width, dtype: DType::F32 };
        let (y_now, bias_now, residual_now) = match () {
            () if direct => (y, bias, residual),
            () if onto => (y, 0, residual),
            () => (part, 0, Operand::ABSENT),
        };
        steps.push(Step::Gemm {
            rows,
            k,
            m: width,
            x,
            weight,
            y: y_now,
            bias: bias_now,
            residual: residual_now,
            workspace: layout.workspace,
            workspace_bytes: WORKSPACE,
        });
        if !direct && !onto {
            let params = LinearFinishParams {
                part: part.address,
                scale: if scaled { layout.scale } else { 0 },
                bias,
                residual: residual.address,
                y: y.address,
                lens: self.lens,
                ldp: part.ld as u64,
                ldr: residual.ld as u64,
                ldy: y.ld as u64,
                l: self.call.sizes.l as u32,
                m: width as u32,
                dtype: stored(y.dtype),
                unused: 0,
            };
            steps.push(launch("linear_finish", rows * width.div_ceil(4 * THREADS), 0, Params::new(params)));
        }
        steps
    }
}

/// Rounds the rows of `x`, a block a row, to bf16; with `scale` to f16.
fn round(x: Operand, to: u64, scale: u64, lens: u64, [rows, l, k]: [usize; 3]) -> Step {
    let aligned = u32::from(vectors(x, k));
    let params = LinearRoundParams { x: x.address, to, scale, lens, ldx: x.ld as u64, l: l as u32, k: k as u32, aligned, unused: 0 };
    launch(if scale == 0 { "linear_round_bf16" } else { "linear_round_f16" }, rows, 0, Params::new(params))
}

/// Whether sixteen bytes of rows of `k` columns may be loaded at once.
fn vectors(x: Operand, k: usize) -> bool {
    x.is_aligned(4) && k.is_multiple_of(4)
}

fn launch(kernel: &'static str, blocks: usize, shared: usize, params: Params) -> Step {
    let grid = [u32::try_from(blocks).expect("blocks of rows that fit the device"), 1, 1];
    Step::Launch(Launch { module: "linear", kernel, grid, block: [THREADS as u32, 1, 1], shared: shared as u32, together: false, params })
}

fn kernel(kind: &str, dtype: DType) -> &'static str {
    match (kind, dtype) {
        ("few4", DType::F32) => "linear_few4_f32",
        ("few4", DType::Bf16) => "linear_few4_bf16",
        ("few4", _) => "linear_few4_f16",
        ("few8", DType::F32) => "linear_few8_f32",
        ("few8", DType::Bf16) => "linear_few8_bf16",
        ("few8", _) => "linear_few8_f16",
        ("ragged", DType::F32) => "linear_ragged_f32",
        ("ragged", DType::Bf16) => "linear_ragged_bf16",
        ("ragged", _) => "linear_ragged_f16",
        (_, DType::F32) => "linear_tile_f32",
        (_, DType::Bf16) => "linear_tile_bf16",
        (_, _) => "linear_tile_f16",
    }
}
