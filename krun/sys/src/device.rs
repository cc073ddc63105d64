//! The two questions that show whether a device makes virtual machines.
#![expect(unsafe_code, reason = "ioctl(2) has no safe form")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `KVM_GET_API_VERSION`: `_IO(0xAE, 0x00)`.
const KVM_GET_API_VERSION: libc::c_ulong = 0xAE00;
/// `KKM_ID`: `_IO(0xAE, 0xff)`, the identity of Kontain's kernel module.
const KKM_ID: libc::c_ulong = 0xAEFF;

/// The version of the KVM interface behind `device`; every kernel since 2.6.22 says 12.
pub fn kvm_api_version(device: BorrowedFd<'_>) -> io::Result<i32> {
    plain_ioctl(device, KVM_GET_API_VERSION)
}

/// What `device` says it is; `/dev/kkm` says `0x6B6B6D`, which is "kkm".
pub fn kkm_identity(device: BorrowedFd<'_>) -> io::Result<i32> {
    plain_ioctl(device, KKM_ID)
}

fn plain_ioctl(device: BorrowedFd<'_>, request: libc::c_ulong) -> io::Result<i32> {
    // SAFETY: both requests are `_IO` requests: they read nothing and write nothing through
    // the argument, which is 0, on a KVM or KKM device. A device of another kind refuses
    // the number with ENOTTY or takes 0 as an argument.
    let answer = unsafe { libc::ioctl(device.as_raw_fd(), request, 0) };
    match answer {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}
