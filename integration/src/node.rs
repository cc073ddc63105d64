//! The root directory of a node that `kontain` works on: nothing of the machine's own is changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::built;
use crate::outcome;

/// A node that has krun where the machine has it.
#[derive(Debug)]
pub struct Node {
    dir: TempDir,
    krun: PathBuf,
}

impl Node {
    /// Makes it.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("krun-node").tempdir()?;
        let node = Self { dir, krun: built::krun()? };
        let copy = node.path(&node.krun);
        fs::create_dir_all(copy.parent().context("a directory")?)?;
        fs::copy(&node.krun, copy)?;
        Ok(node)
    }

    /// krun's binary.
    pub fn krun(&self) -> &Path {
        &self.krun
    }

    /// Where a file of the node's is.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.dir.path().join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Writes a file, has `kontain` install krun as the default, and returns what the file is then.
    pub fn install(&self, engine: &str, file: &str, text: &str) -> Result<String> {
        let path = self.path(file);
        fs::create_dir_all(path.parent().context("a directory")?)?;
        fs::write(&path, text)?;
        let krun = self.krun.to_string_lossy();
        self.kontain(&["install", engine, "--default", "--binary", &krun])?;
        Ok(fs::read_to_string(path)?)
    }

    /// Takes it away, and fails unless the file is as it was.
    pub fn uninstall(&self, engine: &str, file: &str, text: &str) -> Result<()> {
        self.kontain(&["uninstall", engine])?;
        let left = fs::read_to_string(self.path(file))?;
        ensure!(left == text, "{left:?} is not {text:?}");
        Ok(())
    }

    fn kontain(&self, args: &[&str]) -> Result<()> {
        let mut command = Command::new(built::kontain()?);
        command.args(args).arg("--root").arg(self.dir.path());
        let done = outcome::run(&mut command, None)?;
        ensure!(done.is_success(), "{command:?}: {done:?}");
        Ok(())
    }
}
