//! The Rust side of `emulator.cpp`. No module of this crate's, which has no `unsafe`: its tests and the engine's emulated device take it in by its
//! path, where `cfg(emulated)` says that the C++ is linked.

use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::{Mutex, PoisonError};

use statespace_ops::cuda::{Launch, Step};
use statespace_plan::DType;

unsafe extern "C" {
    fn emulator_run(
        kernel: *const c_char,
        grid: *const u32,
        block: *const u32,
        shared: u32,
        params: *const c_void,
        bytes: usize,
        together: bool,
        descending: bool,
    ) -> *const c_char;
    fn emulator_gemm(gemm: *const Gemm);
}

#[repr(C)]
struct Gemm {
    rows: usize,
    k: usize,
    m: usize,
    x: u64,
    ldx: usize,
    weight: u64,
    half: u64,
    y: u64,
    ldy: usize,
    narrow: u64,
    bias: u64,
    residual: u64,
    ldr: usize,
}

/// The emulator is one GPU.
static GPU: Mutex<()> = Mutex::new(());

/// Runs steps in order; `descending` takes blocks and threads the other way round, which must not matter. Fails with what the emulator says.
/// The steps are made by `launches` for operands that the caller keeps alive.
pub fn run(steps: &[Step], descending: bool) -> Result<(), String> {
    let _gpu = GPU.lock().unwrap_or_else(PoisonError::into_inner);
    steps.iter().try_for_each(|step| match step {
        Step::Launch(launch) => run_launch(launch, descending),
        &Step::Gemm { rows, k, m, x, weight, y, bias, residual, .. } => {
            let (half, narrow) = (u64::from(x.dtype == DType::F16), u64::from(y.dtype == DType::Bf16));
            let ((x, ldx), (y, ldy), (residual, ldr)) = ((x.address, x.ld), (y.address, y.ld), (residual.address, residual.ld));
            let gemm = Gemm { rows, k, m, x, ldx, weight, half, y, ldy, narrow, bias, residual, ldr };
            // SAFETY: the addresses are those of operands that the caller keeps alive, with the op's shapes.
            unsafe { emulator_gemm(&raw const gemm) };
            Ok(())
        }
    })
}

fn run_launch(launch: &Launch, descending: bool) -> Result<(), String> {
    let name = CString::new(launch.kernel).expect("kernels have plain names");
    let params = launch.params.bytes();
    // SAFETY: the lock makes this the only run; params outlive it, and hold addresses of operands that the caller keeps alive.
    let refused = unsafe {
        emulator_run(
            name.as_ptr(),
            launch.grid.as_ptr(),
            launch.block.as_ptr(),
            launch.shared,
            params.as_ptr().cast(),
            params.len(),
            launch.together,
            descending,
        )
    };
    if refused.is_null() {
        return Ok(());
    }
    // SAFETY: what is not null is a string that stays until the next run, which the lock holds off.
    Err(format!("{}: {}", launch.kernel, unsafe { CStr::from_ptr(refused) }.to_string_lossy()))
}
