//! A runtime with one of the weaknesses that others had: what tests of attacks look for must find it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use tempfile::TempDir;

use crate::runtime::Runtime;

/// What it does, whose weaknesses it describes.
const PROGRAM: &str = include_str!("careless.py");

/// A runtime whose containers are namespaces of mounts and processes, for as long as a program runs.
#[derive(Debug)]
pub struct Careless {
    /// What is called as all the others are.
    pub runtime: Runtime,
    _directory: TempDir,
}

impl Careless {
    /// One with a weakness by this name.
    pub fn with(weakness: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("krun-careless").tempdir()?;
        let program = directory.path().join("careless");
        fs::write(&program, PROGRAM.replace("@WEAKNESS@", weakness))?;
        fs::set_permissions(&program, Permissions::from_mode(0o755))?;
        Ok(Self { runtime: Runtime::other(&program)?, _directory: directory })
    }
}
