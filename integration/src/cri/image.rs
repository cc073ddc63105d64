//! An image of one layer, made as `docker save` makes it and imported by `ctr`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::containerd::Containerd;
use crate::outcome;
use crate::rootfs;

/// Imports the root filesystem of all tests under this name.
pub(super) fn import(containerd: &Containerd, name: &str) -> Result<()> {
    let dir = containerd.directory().join("image");
    rootfs::make(&dir.join("root"))?;
    tar(&dir.join("root"), "../layer.tar", &["."])?;
    let sum = outcome::run(Command::new("sha256sum").arg(dir.join("layer.tar")), None)?;
    ensure!(sum.is_success(), "{sum:?}");
    let digest = sum.stdout().split(' ').next().map(|hash| format!("sha256:{hash}"));

    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sleep", "1000"]},
        "rootfs": {"type": "layers", "diff_ids": [digest]}
    });
    let manifest = json!([
        {"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}
    ]);
    fs::write(dir.join("config.json"), config.to_string())?;
    fs::write(dir.join("manifest.json"), manifest.to_string())?;
    tar(&dir, "image.tar", &["manifest.json", "config.json", "layer.tar"])?;

    let archive = dir.join("image.tar").to_string_lossy().into_owned();
    let imported = containerd.call(["--namespace", "k8s.io", "images", "import", &archive])?;
    ensure!(imported.is_success(), "ctr images import: {imported:?}");
    Ok(())
}

/// Packs files of a directory into an archive, whose name is relative to it.
fn tar(directory: &Path, archive: &str, files: &[&str]) -> Result<()> {
    let mut tar = Command::new("tar");
    let packed = tar.current_dir(directory).args(["-cf", archive]).args(files).status();
    ensure!(packed.context("start tar")?.success(), "tar could not pack {archive}");
    Ok(())
}
