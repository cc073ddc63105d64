//! The bundle: a directory with a `config.json` and, usually, a root file system.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use spec_compat::{Config, ConfigError};

use super::CreateError;

/// A `config.json` is some kilobytes; what is beyond this is an attack or a mistake.
const LARGEST_CONFIG: u64 = 64 << 20;

/// A bundle whose configuration has passed all checks.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) directory: PathBuf,
    pub(super) config: Config,
    /// Absolute; links in it are not resolved.
    pub(super) rootfs: PathBuf,
}

impl Bundle {
    /// Reads the bundle in `directory`, or in the working directory.
    pub(super) fn open(directory: Option<&Path>) -> Result<Self, CreateError> {
        let given = directory.unwrap_or(Path::new("."));
        let directory = absolute_directory(given)
            .map_err(|source| CreateError::Bundle { path: given.into(), source })?;
        let config = read_config(&directory.join("config.json"))?;
        let rootfs = directory.join(config.rootfs());
        match demand_directory(&rootfs) {
            Ok(()) => Ok(Self { directory, config, rootfs }),
            Err(source) => Err(CreateError::Rootfs { path: rootfs, source }),
        }
    }
}

/// Reads a `config.json`, and gives all its faults at once.
pub(crate) fn read_config(path: &Path) -> Result<Config, CreateError> {
    let bytes =
        read(path).map_err(|source| CreateError::ReadConfig { path: path.into(), source })?;
    Config::parse(&bytes)
        .map_err(|source: ConfigError| CreateError::Config { path: path.into(), source })
}

fn absolute_directory(path: &Path) -> io::Result<PathBuf> {
    demand_directory(path)?;
    std::path::absolute(path)
}

fn demand_directory(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.is_dir() { Ok(()) } else { Err(rustix::io::Errno::NOTDIR.into()) }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST_CONFIG).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::Bundle;
    use crate::error_chain;

    fn fault(directory: &Path) -> String {
        error_chain::text(&Bundle::open(Some(directory)).unwrap_err())
    }

    #[test]
    fn every_kind_of_bad_bundle_is_told_apart() {
        let bundle = tempfile::tempdir().unwrap();
        let config = bundle.path().join("config.json");

        let missing = fault(&bundle.path().join("nowhere"));
        assert!(missing.contains("nowhere: no such file or directory"), "{missing}");

        let empty = fault(bundle.path());
        assert!(empty.contains("config.json: no such file or directory"), "{empty}");

        fs::write(&config, "{}").unwrap();
        let file = fault(&config);
        assert!(file.contains("config.json: not a directory"), "{file}");
        let faults = fault(bundle.path());
        assert!(
            faults.contains("config.json: 3 faults: (1) ociVersion: found nothing"),
            "{faults}"
        );

        let good =
            r#"{"ociVersion":"1.0.2","root":{"path":"fs"},"process":{"args":["a"],"cwd":"/"}}"#;
        fs::write(&config, good).unwrap();
        let rootfs = fault(bundle.path());
        assert!(rootfs.contains("invalid rootfs (root.path): stat "), "{rootfs}");

        fs::create_dir(bundle.path().join("fs")).unwrap();
        assert!(Bundle::open(Some(bundle.path())).is_ok());
    }
}
