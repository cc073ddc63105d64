//! The root directory of a node that tests make.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kontain::{Engine, Root, Wish, Work};
use tempfile::TempDir;

/// docker's file.
pub(crate) const DAEMON_JSON: &str = "/etc/docker/daemon.json";

/// containerd's file.
pub(crate) const CONFIG_TOML: &str = "/etc/containerd/config.toml";

/// A node with krun on it.
#[derive(Debug)]
pub(crate) struct Node {
    dir: TempDir,
}

impl Node {
    pub(crate) fn new() -> Result<Self> {
        let node = Self { dir: tempfile::Builder::new().prefix("kontain-node").tempdir()? };
        node.furnish()?;
        Ok(node)
    }

    /// One with a file.
    pub(crate) fn with(path: &str, text: impl AsRef<[u8]>) -> Result<Self> {
        let node = Self::new()?;
        node.write(path, text)?;
        Ok(node)
    }

    /// Puts on it what every node has.
    pub(crate) fn furnish(&self) -> Result<()> {
        self.write("/opt/kontain/bin/krun", "#!/bin/sh\n")?;
        self.mode("/opt/kontain/bin/krun", 0o755)
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path(path);
        fs::create_dir_all(path.parent().context("a directory")?)?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    pub(crate) fn mode(&self, path: &str, mode: u32) -> Result<()> {
        Ok(fs::set_permissions(self.path(path), Permissions::from_mode(mode))?)
    }

    pub(crate) fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.path(path)).with_context(|| format!("read {path}"))
    }

    pub(crate) fn root(&self) -> kontain::Result<Root> {
        Root::open(self.dir.path())
    }

    /// What would be done.
    pub(crate) fn plan(&self, engine: Engine, wish: &Wish) -> kontain::Result<Work> {
        kontain::install(&self.root()?, engine, wish)
    }

    pub(crate) fn install(&self, engine: Engine, wish: &Wish) -> kontain::Result<Work> {
        let work = self.plan(engine, wish)?;
        work.apply(&self.root()?)?;
        Ok(work)
    }

    pub(crate) fn uninstall(&self, engine: Engine) -> kontain::Result<Work> {
        let work = kontain::uninstall(&self.root()?, engine)?;
        work.apply(&self.root()?)?;
        Ok(work)
    }

    /// The same of all that an engine is made of.
    pub(crate) fn install_all(&self, engine: Engine, wish: &Wish) -> kontain::Result<Vec<Work>> {
        let works = kontain::install_all(&self.root()?, engine, wish)?;
        Work::apply_all(&works, &self.root()?)?;
        Ok(works)
    }

    pub(crate) fn uninstall_all(&self, engine: Engine) -> kontain::Result<Vec<Work>> {
        let works = kontain::uninstall_all(&self.root()?, engine)?;
        Work::apply_all(&works, &self.root()?)?;
        Ok(works)
    }

    /// All that is there: modes, and bytes, or where links lead.
    pub(crate) fn all(&self) -> Result<BTreeMap<PathBuf, (u32, Vec<u8>)>> {
        let mut all = BTreeMap::new();
        look(self.dir.path(), &mut all)?;
        Ok(all)
    }
}

fn look(path: &Path, all: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) -> Result<()> {
    let status = fs::symlink_metadata(path)?;
    let bytes = if status.is_file() {
        fs::read(path)?
    } else if status.is_symlink() {
        fs::read_link(path)?.into_os_string().into_encoded_bytes()
    } else {
        Vec::new()
    };
    all.insert(path.to_owned(), (status.permissions().mode(), bytes));
    if status.is_dir() {
        for entry in fs::read_dir(path)? {
            look(&entry?.path(), all)?;
        }
    }
    Ok(())
}

/// What most administrators want.
pub(crate) fn wish() -> Wish {
    let binary = PathBuf::from("/opt/kontain/bin/krun");
    Wish { name: "krun".to_owned(), binary, default: false, config: None }
}

/// The same as the default.
pub(crate) fn wish_default() -> Wish {
    Wish { default: true, ..wish() }
}
