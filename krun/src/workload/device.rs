//! The device that makes virtual machines, opened on the host's side.
//!
//! A container neither has `/dev/kvm` nor may open it; the descriptor is passed on. By a link of procfs a
//! descriptor is also a name of the file, and whoever may change any file's owner and mode could change the
//! host's device's. So what is opened is on a read-only mount of the device that is attached nowhere: a
//! device can be used there, but not be changed.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use monitor_launch::DeviceKind;

use crate::{error_chain, own_binary};

const KVM: &str = "/dev/kvm";
const KKM: &str = "/dev/kkm";
/// The only version of the KVM interface there has been since 2007.
const KVM_API_VERSION: i32 = 12;
/// "kkm", as the module spells its name.
const KKM_IDENTITY: i32 = 0x006B_6B6D;

/// An open device that has said what it is.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) kind: DeviceKind,
    pub(crate) descriptor: OwnedFd,
}

/// Why there is no device: what is missing, and what to do.
///
/// None of the texts holds what engines take for a fault of the image ("no such file",
/// "permission denied"): this one is the host's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    /// Neither device exists.
    #[error(
        "this host has no /dev/kvm (and no /dev/kkm): load the module kvm_intel or kvm_amd, \
         enable virtualization in the firmware, or use a machine with nested virtualization"
    )]
    Missing,
    /// It exists, and this user may not open it.
    #[error("{0} may not be opened by this user: run as root or join the group kvm")]
    NotPermitted(&'static str),
    /// It exists and opens not, or is something else.
    #[error(
        "{path} makes no virtual machines ({reason}): load the module kvm_intel or kvm_amd, or \
         use a machine with nested virtualization"
    )]
    Unusable {
        /// The device.
        path: &'static str,
        /// What it said.
        reason: String,
    },
}

/// Opens `/dev/kvm`, or `/dev/kkm` where there is no usable KVM.
pub(crate) fn open() -> Result<Device, DeviceError> {
    match open_kvm() {
        Ok(device) => Ok(device),
        // Of two faults the one of the usual device is told.
        Err(fault) => open_kkm().map_err(|_| fault),
    }
}

fn open_kvm() -> Result<Device, DeviceError> {
    let descriptor = open_device(KVM)?;
    match krun_sys::kvm_api_version(descriptor.as_fd()) {
        Ok(KVM_API_VERSION) => Ok(Device { kind: DeviceKind::Kvm, descriptor }),
        answer => Err(unusable(KVM, &answer)),
    }
}

fn open_kkm() -> Result<Device, DeviceError> {
    let descriptor = open_device(KKM)?;
    match krun_sys::kkm_identity(descriptor.as_fd()) {
        Ok(KKM_IDENTITY) => Ok(Device { kind: DeviceKind::Kkm, descriptor }),
        answer => Err(unusable(KKM, &answer)),
    }
}

fn open_device(path: &'static str) -> Result<OwnedFd, DeviceError> {
    match open_on_own_mount(path) {
        Ok(file) => Ok(file.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(DeviceError::Missing),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(DeviceError::NotPermitted(path))
        }
        Err(error) => Err(unusable(path, &Err(error))),
    }
}

/// An ordinary user makes no mounts, nor may he change what is not his.
fn open_on_own_mount(path: &str) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true);
    let protected = own_binary::open_read_only_mount(Path::new(path))
        .and_then(|mount| options.open(format!("/proc/self/fd/{}", mount.as_raw_fd())));
    protected.or_else(|error| {
        let device = options.open(path)?;
        if rustix::process::geteuid().is_root() {
            tracing::warn!("{path} is opened without a read-only mount: {error}");
        }
        Ok(device)
    })
}

fn unusable(path: &'static str, answer: &io::Result<i32>) -> DeviceError {
    let reason = match answer {
        Ok(answer) => format!("it calls itself {answer}"),
        Err(error) => error_chain::without_number(&error.to_string()).to_owned(),
    };
    DeviceError::Unusable { path, reason }
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind};
    use std::os::fd::AsRawFd;

    use super::open_on_own_mount;

    #[test]
    fn what_cannot_be_mounted_is_opened_as_it_is() {
        // Of a pipe no mount can be made.
        let (_reading, writing) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", writing.as_raw_fd());

        let missing = open_on_own_mount("/dev/no-such-device").unwrap_err();

        assert!(open_on_own_mount(&path).is_ok());
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
}
