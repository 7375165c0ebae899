//! Matrix products by cuBLASLt, which is looked for when a device is opened: it is no part of the driver.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Mutex;

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;
use cudarc::driver::sys::CUstream;
use statespace_ops::cuda::{Operand, Step};
use statespace_plan::DType;

use self::sys::cublasLtMatmulDescAttributes_t as Descriptor;
use super::lock;
use crate::error::Error;

/// CUBLAS_OP_T, whose header is not among the bindings.
const TRANSPOSED: i32 = 1;

fn failed(what: &'static str) -> impl Fn(CublasError) -> Error {
    move |error| Error::Device { message: format!("cuBLASLt: {what}: {error}") }
}

/// cuBLASLt, and for every product that was prepared its way of doing it, which is kept, so that results are the same each time.
pub(super) struct Gemms {
    handle: sys::cublasLtHandle_t,
    ways: HashMap<Key, Way>,
}

// SAFETY: a handle and descriptions, which are one thread's at a time: that which has them.
unsafe impl Send for Gemms {}

/// cuBLASLt, opened when it is first asked for, which takes a fifth of a second. No thread is at it but in a call that somebody waits for: a
/// process that ends has its destructors run.
#[derive(Default)]
pub(super) struct Library(Mutex<Option<Gemms>>);

impl Library {
    /// Whether there is one. It is large, and loaded now.
    pub(super) fn is_there() -> bool {
        // SAFETY: loads NVIDIA's library, as is meant; without it other calls would panic.
        unsafe { sys::is_culib_present() }
    }

    /// Lets `body` have it; the current context is the one it works in.
    pub(super) fn with<T>(&self, body: impl FnOnce(&mut Gemms) -> Result<T, Error>) -> Result<T, Error> {
        let mut gemms = lock(&self.0);
        if gemms.is_none() {
            *gemms = Some(Gemms::open()?);
        }
        body(gemms.as_mut().expect("opened above"))
    }

    /// Frees it all, when the GPU is done.
    pub(super) fn close(&self) {
        if let Some(mut gemms) = lock(&self.0).take() {
            gemms.close();
        }
    }
}

/// What a way is chosen by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    shape: [usize; 3],
    /// Of x, y and the residual, which is absent where it has none.
    lds: [usize; 3],
    /// Of x and the weight, and of y.
    dtypes: [DType; 2],
    biased: bool,
    /// Powers of two that x, the weight, y and the residual lie at multiples of.
    alignments: [u32; 4],
    workspace: usize,
}

impl Key {
    const ANY: Key = Key { shape: [512; 3], lds: [512; 3], dtypes: [DType::Bf16; 2], biased: false, alignments: [256; 4], workspace: 0 };

    fn new(step: &Step) -> Key {
        let Step::Gemm { rows, k, m, x, weight, y, bias, residual, workspace_bytes, .. } = *step else { unreachable!("a product") };
        let added = if residual.is_present() { residual } else { y };
        Key {
            shape: [rows, k, m],
            lds: [x.ld, y.ld, added.ld],
            dtypes: [x.dtype, y.dtype],
            biased: bias != 0,
            alignments: [x.address, weight, y.address, added.address].map(|address| 1 << address.trailing_zeros().min(8)),
            workspace: workspace_bytes,
        }
    }
}

struct Way {
    matmul: sys::cublasLtMatmulDesc_t,
    weight: sys::cublasLtMatrixLayout_t,
    x: sys::cublasLtMatrixLayout_t,
    y: sys::cublasLtMatrixLayout_t,
    added: sys::cublasLtMatrixLayout_t,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

impl Gemms {
    fn open() -> Result<Gemms, Error> {
        let handle = result::create_handle().map_err(failed("it does not start"))?;
        // Its first answer takes a tenth of a second, whatever the question and the answer.
        if let Ok(way) = Way::new(handle, &Key::ANY) {
            way.close();
        }
        Ok(Gemms { handle, ways: HashMap::new() })
    }

    /// Chooses how a product is done.
    pub(super) fn prepare(&mut self, step: &Step) -> Result<(), Error> {
        let key = Key::new(step);
        if !self.ways.contains_key(&key) {
            let way = Way::new(self.handle, &key)?;
            self.ways.insert(key, way);
        }
        Ok(())
    }

    /// Asks for a product that was prepared.
    pub(super) fn run(&self, step: &Step, stream: CUstream) -> Result<(), Error> {
        let way = &self.ways[&Key::new(step)];
        let Step::Gemm { x, weight, y, bias, residual, workspace, workspace_bytes, .. } = *step else { unreachable!("a product") };
        let added = if residual.is_present() { residual } else { Operand { dtype: y.dtype, ..y } };
        let (one, beta) = (1f32, if residual.is_present() { 1f32 } else { 0f32 });
        let at = |address: u64| std::ptr::with_exposed_provenance::<c_void>(address as usize);
        if bias != 0 {
            // The descriptor's, which the call below copies, under the lock that this is behind.
            way.set(Descriptor::CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias)?;
        }
        // Rows of ours are columns there: yᵀ = weight xᵀ.
        // SAFETY: handle, descriptor and layouts live as long as `self`; the layouts are those of the operands, which are in live allocations of a
        // checked plan (see `Kernels::launch`), and the workspace has the bytes that the way was chosen for.
        unsafe {
            result::matmul(
                self.handle,
                way.matmul,
                (&raw const one).cast(),
                (&raw const beta).cast(),
                at(weight),
                way.weight,
                at(x.address),
                way.x,
                at(added.address),
                way.added,
                at(y.address).cast_mut(),
                way.y,
                &way.algorithm,
                at(workspace).cast_mut(),
                workspace_bytes,
                stream.cast(),
            )
        }
        .map_err(failed("a product failed"))
    }

    fn close(&mut self) {
        for (_, way) in self.ways.drain() {
            way.close();
        }
        // SAFETY: created by `open`, destroyed here alone, and what was made with it is gone. What fails here has failed before.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

impl Way {
    fn new(handle: sys::cublasLtHandle_t, key: &Key) -> Result<Way, Error> {
        let refused = failed("a product could not be described");
        let ([rows, k, m], [ldx, ldy, ldr]) = (key.shape.map(|size| size as u64), key.lds.map(|ld| ld as i64));
        let [of_x, of_y] = key.dtypes.map(|dtype| match dtype {
            DType::F16 => sys::cudaDataType::CUDA_R_16F,
            DType::Bf16 => sys::cudaDataType::CUDA_R_16BF,
            _ => sys::cudaDataType::CUDA_R_32F,
        });
        // Whatever fails below leaves a few bytes behind, once, in a process that is not going to use them.
        let matmul =
            result::create_matmul_desc(sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, sys::cudaDataType::CUDA_R_32F).map_err(&refused)?;
        let weight = result::create_matrix_layout(of_x, k, m, k as i64).map_err(&refused)?;
        let x = result::create_matrix_layout(of_x, k, rows, ldx).map_err(&refused)?;
        let y = result::create_matrix_layout(of_y, m, rows, ldy).map_err(&refused)?;
        let added = result::create_matrix_layout(of_y, m, rows, ldr).map_err(&refused)?;
        let preference = result::create_matmul_pref().map_err(&refused)?;
        use sys::cublasLtMatmulPreferenceAttributes_t as Wish;
        let [for_x, for_weight, for_y, for_added] = key.alignments;
        let wishes = [
            (Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, for_weight),
            (Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, for_x),
            (Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, for_added),
            (Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, for_y),
        ];
        for (wish, value) in wishes {
            // SAFETY: a live preference, and the 32-bit number that this attribute is.
            unsafe { result::set_matmul_pref_attribute(preference, wish, (&raw const value).cast(), 4) }.map_err(&refused)?;
        }
        let workspace = key.workspace as u64;
        // SAFETY: a live preference, and the 64-bit number that this attribute is.
        unsafe {
            let wish = Wish::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
            result::set_matmul_pref_attribute(preference, wish, (&raw const workspace).cast(), 8)
        }
        .map_err(&refused)?;
        let mut way = Way { matmul, weight, x, y, added, algorithm: sys::cublasLtMatmulAlgo_t { data: [0; 8] } };
        way.set(Descriptor::CUBLASLT_MATMUL_DESC_TRANSA, TRANSPOSED)?;
        if key.biased {
            way.set(Descriptor::CUBLASLT_MATMUL_DESC_EPILOGUE, sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS as i32)?;
        }
        // SAFETY: all of these are live, and the layouts fit each other.
        let found = unsafe { result::get_matmul_algo_heuristic(handle, matmul, weight, x, added, y, preference) };
        // SAFETY: created above, not used again.
        unsafe { result::destroy_matmul_pref(preference) }.map_err(&refused)?;
        way.algorithm = found.map_err(failed("it has no way of doing a product"))?.algo;
        Ok(way)
    }

    /// Sets an attribute that is a number or an address.
    fn set<T: Copy>(&self, attribute: Descriptor, value: T) -> Result<(), Error> {
        // SAFETY: a live descriptor, and as many bytes as `value` has.
        unsafe { result::set_matmul_desc_attribute(self.matmul, attribute, (&raw const value).cast(), size_of::<T>()) }
            .map_err(failed("a product could not be described"))
    }

    fn close(self) {
        // SAFETY: created by `new`, destroyed here alone. What fails here has failed before.
        let _ = unsafe { result::destroy_matmul_desc(self.matmul) };
        for layout in [self.weight, self.x, self.y, self.added] {
            // SAFETY: as above.
            let _ = unsafe { result::destroy_matrix_layout(layout) };
        }
    }
}
