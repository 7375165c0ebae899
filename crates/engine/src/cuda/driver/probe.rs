//! Which devices there are, or why none.

use cudarc::driver::result::{self, device as devices};
use cudarc::driver::sys;

use super::failed;
use crate::error::Error;
use crate::options::DeviceInfo;

/// The oldest driver that loads what this build's kernels were compiled to.
const DRIVER: (i32, &str) = (13_000, "13.0 (driver 580)");

fn absent(message: impl Into<String>) -> Error {
    Error::NoDevice { message: message.into() }
}

/// The version that the driver speaks, once it is up.
fn driver() -> Result<i32, Error> {
    // SAFETY: loads the driver's library, whose initializers are NVIDIA's; without it every other call would panic.
    if !unsafe { sys::is_culib_present() } {
        let library = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };
        return Err(absent(format!("no NVIDIA driver: {library} was not found")));
    }
    let mut version = 0;
    // SAFETY: writes one integer; needs no `cuInit`.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().map_err(failed("the NVIDIA driver does not tell its version"))?;
    if version < DRIVER.0 {
        let message = format!("the NVIDIA driver is for CUDA {}; {} or newer is needed", dotted(version), DRIVER.1);
        return Err(Error::Device { message });
    }
    result::init().map_err(|error| match error.0 {
        sys::CUresult::CUDA_ERROR_NO_DEVICE => absent("the NVIDIA driver finds no GPU"),
        _ => failed("the NVIDIA driver does not start")(error),
    })?;
    Ok(version)
}

fn dotted(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

fn count() -> Result<usize, Error> {
    match devices::get_count().map_err(failed("the GPUs could not be counted"))? {
        ..=0 => Err(absent("the NVIDIA driver finds no GPU")),
        count => Ok(count as usize),
    }
}

/// The device of an index, and what it says about itself.
pub(super) fn device(index: usize) -> Result<(sys::CUdevice, DeviceInfo), Error> {
    let (version, count) = (driver()?, count()?);
    if index >= count {
        return Err(Error::option(format!("device is {index}; this machine has {count}")));
    }
    describe(index, version)
}

/// An attribute of a device.
pub(super) fn attribute(device: sys::CUdevice, what: sys::CUdevice_attribute) -> Result<i32, Error> {
    // SAFETY: the driver has named this device.
    unsafe { devices::get_attribute(device, what) }.map_err(failed("a property of the GPU could not be had"))
}

/// All devices, or why there are none.
pub(crate) fn survey() -> Result<Vec<DeviceInfo>, Error> {
    let version = driver()?;
    (0..count()?).map(|index| Ok(describe(index, version)?.1)).collect()
}

fn describe(index: usize, version: i32) -> Result<(sys::CUdevice, DeviceInfo), Error> {
    let refused = failed("a property of the GPU could not be had");
    let device = devices::get(index as i32).map_err(&refused)?;
    let major = attribute(device, sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(device, sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    let info = DeviceInfo {
        index,
        name: devices::get_name(device).map_err(&refused)?,
        // SAFETY: the driver has named this device.
        memory: unsafe { devices::total_mem(device) }.map_err(&refused)? as u64,
        free: None,
        capability: format!("{major}.{minor}"),
        driver: dotted(version),
    };
    Ok((device, info))
}
