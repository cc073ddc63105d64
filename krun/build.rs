//! Tells krun which commit it is built from, for `krun --version`, and has it linked at a fixed address
//! (docs/adr/0007-krun-at-a-fixed-address.md).

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=KRUN_COMMIT");
    println!("cargo::rerun-if-changed=../.git/HEAD");
    println!("cargo::rerun-if-changed=../.git/refs/heads");
    for argument in ["-static", "-no-pie"] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    let commit = std::env::var("KRUN_COMMIT").ok().or_else(git_commit);
    println!("cargo::rustc-env=KRUN_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

fn git_commit() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let commit = text.trim();
    (output.status.success() && !commit.is_empty()).then(|| commit.to_owned())
}
