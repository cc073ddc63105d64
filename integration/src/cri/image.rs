//! An image of one layer, made as `docker save` makes it and imported by `ctr`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::containerd::Containerd;
use crate::guests;
use crate::outcome;
use crate::rootfs;

/// The program of pause containers, in a file of its own: it waits for its end.
pub(super) const PAUSE: &str = "/pause";

const PAUSE_TEXT: &str = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n";

/// The hash of [`PAUSE`].
pub(super) fn pause_hash() -> Result<String> {
    let dir = tempfile::tempdir()?;
    let program = dir.path().join("pause");
    guests::c_text(PAUSE_TEXT, &program)?;
    hash(&program)
}

fn hash(file: &Path) -> Result<String> {
    let sum = outcome::run(Command::new("sha256sum").arg(file), None)?;
    ensure!(sum.is_success(), "{sum:?}");
    Ok(sum.stdout().split(' ').next().unwrap_or_default().to_owned())
}

/// Imports the root filesystem of all tests under this name.
pub(super) fn import(containerd: &Containerd, name: &str) -> Result<()> {
    let dir = containerd.directory().join("image");
    rootfs::make(&dir.join("root"))?;
    guests::c_text(PAUSE_TEXT, &dir.join("root").join(&PAUSE[1..]))?;
    tar(&dir.join("root"), "../layer.tar", &["."])?;
    let digest = format!("sha256:{}", hash(&dir.join("layer.tar"))?);

    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": [PAUSE]},
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
