//! The launch record, in memory nobody can change any more.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;

use monitor_launch::LaunchRecord;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// Writes `record` into a sealed file in memory, to be read from its beginning.
pub(crate) fn sealed(record: &LaunchRecord) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("km-launch", flags)?);
    file.write_all(&record.encode())?;
    file.rewind()?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use monitor_launch::{
        Action, Descriptors, Device, DeviceKind, Exitless, Findings, LaunchRecord,
    };

    use super::sealed;

    #[test]
    fn a_sealed_record_can_be_read_and_not_written() {
        let record = LaunchRecord {
            action: Action::Check,
            program: b"/bin/sh".to_vec(),
            device: Device { kind: DeviceKind::Kvm, descriptor: 9 },
            release_suffix: true,
            signal_mask: None,
            ignored: None,
            filters: Vec::new(),
            asks_agent: false,
            exitless: Exitless::Auto,
            findings: Findings::default(),
            stats: false,
            own_filter: false,
            descriptors: Descriptors::default(),
        };

        let mut file = File::from(sealed(&record).unwrap());
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();

        assert_eq!(LaunchRecord::decode(&bytes), Ok(record));
        assert!(file.write_all(b"x").is_err());
    }
}
