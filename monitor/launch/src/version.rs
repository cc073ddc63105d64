//! The record's frame: eight bytes of magic, four of version (little endian),
//! then the fields in postcard's format.
//!
//! krun and km are installed together, so there is one version, and another is
//! refused: it means that an old km stands beside a new krun.

use serde::{Serialize, de::DeserializeOwned};

/// The version this crate writes, and the only one it reads.
pub const VERSION: u32 = 7;

const MAGIC: [u8; 8] = *b"kmlaunch";
const HEADER: usize = 12;

/// Why bytes are no launch record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes do not begin as a record does.
    #[error("not a launch record")]
    NotARecord,
    /// krun and km are of different releases.
    #[error(
        "launch record of version {found}, this km reads {VERSION}: install krun and km together"
    )]
    Version {
        /// The record's version.
        found: u32,
    },
    /// The header is right, the fields are not.
    #[error("damaged launch record: {0}")]
    Damaged(#[from] postcard::Error),
    /// Bytes follow the last field.
    #[error("damaged launch record: {0} bytes too many")]
    TrailingBytes(usize),
}

pub(crate) fn frame<T: Serialize>(fields: &T) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    postcard::to_extend(fields, bytes).expect("a vector grows, and every field can be written")
}

pub(crate) fn unframe<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (header, body) = bytes.split_at_checked(HEADER).ok_or(DecodeError::NotARecord)?;
    let (magic, version) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(DecodeError::NotARecord);
    }
    let found = u32::from_le_bytes(version.try_into().expect("four bytes are left of twelve"));
    if found != VERSION {
        return Err(DecodeError::Version { found });
    }
    match postcard::take_from_bytes(body)? {
        (fields, []) => Ok(fields),
        (_, rest) => Err(DecodeError::TrailingBytes(rest.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::{DecodeError, VERSION};
    use crate::{Action, Descriptors, Device, DeviceKind, Exitless, Findings, LaunchRecord};

    fn record() -> LaunchRecord {
        LaunchRecord {
            action: Action::Run,
            program: b"/bin/\xffecho".to_vec(),
            device: Device { kind: DeviceKind::Kvm, descriptor: 7 },
            release_suffix: true,
            signal_mask: None,
            ignored: Some(1 << 12),
            filters: vec![vec![6, 0, 0, 0, 0, 0, 0xff, 0x7f]],
            asks_agent: true,
            exitless: Exitless::On,
            findings: Findings {
                features: vec![[7, 0, 1, 2, u32::MAX, 0, 0]],
                gate_level: Some(3),
                vdso: Some([0x8000, 0x6000]),
            },
            stats: true,
            own_filter: true,
            descriptors: Descriptors { monitor: Some(9), ..Descriptors::default() },
        }
    }

    #[test]
    fn a_record_survives_its_bytes() {
        let bytes = record().encode();

        assert_eq!(LaunchRecord::decode(&bytes), Ok(record()));
    }

    #[test]
    fn every_truncated_record_is_refused() {
        let bytes = record().encode();

        for length in 0..bytes.len() {
            assert!(LaunchRecord::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn bytes_behind_the_record_are_refused() {
        let mut bytes = record().encode();
        bytes.push(0);

        assert_eq!(LaunchRecord::decode(&bytes), Err(DecodeError::TrailingBytes(1)));
    }

    #[test]
    fn another_version_is_named_in_the_refusal() {
        let mut bytes = record().encode();
        bytes[8] = 99;

        assert_eq!(LaunchRecord::decode(&bytes), Err(DecodeError::Version { found: 99 }));
        assert_ne!(VERSION, 99);
    }
}
