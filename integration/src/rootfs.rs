//! A root filesystem made of one static busybox and whatever files a test adds.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};

/// The host's busybox, which needs no library.
pub const BUSYBOX: &str = "/bin/busybox";

/// The names that busybox answers to in the root filesystem.
const APPLETS: [&str; 16] = [
    "cat", "echo", "env", "false", "id", "ls", "pwd", "sh", "sleep", "stty", "touch", "true",
    "tty", "uname", "wc", "head",
];

/// Makes the root filesystem in an empty directory.
pub fn make(dir: &Path) -> Result<()> {
    for name in ["bin", "dev", "etc", "proc", "sys", "tmp", "data"] {
        fs::create_dir_all(dir.join(name))?;
    }
    fs::copy(BUSYBOX, dir.join("bin/busybox"))
        .context("copy the static busybox: run integration/prepare first")?;
    for applet in APPLETS {
        symlink("busybox", dir.join("bin").join(applet))?;
    }
    fs::write(dir.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:\n")?;
    fs::write(dir.join("etc/group"), "root:x:0:\nnobody:x:65534:\n")?;
    Ok(())
}

/// Adds a program, or any other file that may be executed.
pub fn add_program(dir: &Path, name: &str, from: &Path) -> Result<()> {
    let to = dir.join("bin").join(name);
    fs::copy(from, &to).with_context(|| format!("copy {}", from.display()))?;
    fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
