//! Kernels: modules loaded when one of their kernels is first asked for, and launches of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::CString;

use cudarc::driver::result::{function, module};
use cudarc::driver::sys;
use cudarc::nvrtc::{self, safe::CompileOptions};
use statespace_ops::cuda::{Image, Launch, MODULES};

use super::failed;
use crate::error::Error;

/// Shared memory that every kernel may have unasked, its own included.
const SHARED: u32 = 48 << 10;

#[derive(Default)]
pub(super) struct Kernels {
    modules: HashMap<&'static str, sys::CUmodule>,
    functions: HashMap<(&'static str, &'static str), Function>,
}

struct Function {
    function: sys::CUfunction,
    /// Bytes of its argument.
    params: usize,
    /// The most dynamic shared memory that it was allowed.
    shared: u32,
    /// Whether its blocks may come before the kernel in front of it is done: it waits for that by itself.
    waits: bool,
}

/// The architecture, as 10 · major + minor, from which on kernels are compiled to wait for the one in front (`inputs_ready` of `common.cuh`).
/// On a newer GPU the driver may have made its code from older PTX, in which they do not.
const WAITS: i32 = 90;

impl Kernels {
    /// Loads what a launch needs. A first launch in the midst of a capture could not.
    pub(super) fn prepare(&mut self, launch: &Launch, capability: (u32, u32)) -> Result<(), Error> {
        let refused = failed(launch.kernel);
        let function = match self.functions.entry((launch.module, launch.kernel)) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(entry) => {
                let module = match self.modules.entry(launch.module) {
                    Entry::Occupied(found) => *found.get(),
                    Entry::Vacant(entry) => *entry.insert(load(launch.module, capability)?),
                };
                let name = CString::new(launch.kernel).expect("kernels have plain names");
                // SAFETY: the module is loaded as long as `self` is open.
                let function = unsafe { module::get_function(module, name) }.map_err(&refused)?;
                let (mut offset, mut params) = (0, 0);
                // SAFETY: writes two numbers about a function of a loaded module.
                unsafe { sys::cuFuncGetParamInfo(function, 0, &mut offset, &mut params) }.result().map_err(&refused)?;
                let own = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES;
                // SAFETY: a function of a loaded module.
                let own = unsafe { function::get_function_attribute(function, own) }.map_err(&refused)?.max(0) as u32;
                let architecture = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_PTX_VERSION;
                // SAFETY: a function of a loaded module.
                let waits = unsafe { function::get_function_attribute(function, architecture) }.map_err(&refused)? >= WAITS;
                entry.insert(Function { function, params, shared: SHARED.saturating_sub(own), waits })
            }
        };
        // What launch relies on.
        assert_eq!(function.params, launch.params.bytes().len(), "{} takes another argument", launch.kernel);
        if launch.shared > function.shared {
            let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: a function of a loaded module.
            unsafe { function::set_function_attribute(function.function, attribute, launch.shared as i32) }.map_err(refused)?;
            function.shared = launch.shared;
        }
        Ok(())
    }

    /// Asks for a launch that was prepared.
    pub(super) fn launch(&self, launch: &Launch, stream: sys::CUstream) -> Result<(), Error> {
        let function = &self.functions[&(launch.module, launch.kernel)];
        let [grid, block] = [launch.grid, launch.block];
        let attribute = |id, value| sys::CUlaunchAttribute { id, pad: [0; 4], value };
        let (early, together) = (
            sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_COOPERATIVE,
        );
        let mut attributes = Vec::with_capacity(2);
        if function.waits {
            attributes.push(attribute(early, sys::CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 }));
        }
        if launch.together {
            attributes.push(attribute(together, sys::CUlaunchAttributeValue { cooperative: 1 }));
        }
        let config = sys::CUlaunchConfig {
            gridDimX: grid[0],
            gridDimY: grid[1],
            gridDimZ: grid[2],
            blockDimX: block[0],
            blockDimY: block[1],
            blockDimZ: block[2],
            sharedMemBytes: launch.shared,
            hStream: stream,
            attrs: attributes.as_mut_ptr(),
            numAttrs: attributes.len() as u32,
        };
        let mut params = [launch.params.bytes().as_ptr().cast_mut().cast()];
        // SAFETY: the kernel takes one argument of this many bytes, as `prepare` has seen, which the driver copies before it returns. What the
        // kernel does with the addresses in it is its op's to answer for: `launches` was given operands of a checked plan, each inside a live
        // allocation of its space, apart from each other as the validator's rules 2 to 5 demand, and ops are tested against their bounds.
        unsafe { sys::cuLaunchKernelEx(&config, function.function, params.as_mut_ptr(), std::ptr::null_mut()) }
            .result()
            .map_err(failed(launch.kernel))
    }

    /// Unloads it all, when the GPU is done.
    pub(super) fn close(&mut self) {
        self.functions.clear();
        for (_, module) in self.modules.drain() {
            // SAFETY: loaded by `load`, unloaded here alone, and its functions are forgotten. What fails here has failed before.
            let _ = unsafe { module::unload(module) };
        }
    }
}

fn load(name: &str, capability: (u32, u32)) -> Result<sys::CUmodule, Error> {
    let module = MODULES.iter().find(|module| module.name == name).expect("launches are of modules that there are");
    let image = match module.image {
        Image::Fatbin(bytes) => words(bytes),
        Image::Source(source) => words(&compile(name, source, capability)?),
    };
    // SAFETY: a whole image, aligned: a fatbin as nvcc has made it, or PTX with a zero behind it. The driver takes what it needs before it returns.
    unsafe { module::load_data(image.as_ptr().cast()) }.map_err(failed(name))
}

/// The bytes where an image may be, with zeros behind them.
fn words(bytes: &[u8]) -> Vec<u64> {
    let mut words = vec![0; bytes.len() / 8 + 1];
    bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
    words
}

/// Kernels that there was no compiler for when this was built.
fn compile(name: &str, source: &str, (major, minor): (u32, u32)) -> Result<Vec<u8>, Error> {
    // SAFETY: loads NVIDIA's library, as is meant; without it the next call would panic.
    if !unsafe { nvrtc::sys::is_culib_present() } {
        let message = "this build has its CUDA kernels as sources, and NVRTC, which would compile them, was not found".to_owned();
        return Err(Error::Device { message });
    }
    let options = CompileOptions {
        options: vec![format!("--gpu-architecture=compute_{major}{minor}"), "--std=c++17".to_owned()],
        name: Some(format!("{name}.cu")),
        ..CompileOptions::default()
    };
    let compiled = nvrtc::safe::compile_ptx_with_opts(source, options);
    Ok(compiled.map_err(|error| Error::Device { message: format!("{name}.cu: {error:?}") })?.to_src().into_bytes())
}
