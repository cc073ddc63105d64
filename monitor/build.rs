//! Has km linked with packed relocations (`DT_RELR`), where the C library applies them.
//!
//! km is position-independent, and each start of it applies some thousand relocations, each of which adds
//! where it lies to a word. Packed they take a bit each instead of 24 bytes, which would be read.

use std::process::Command;

/// The first glibc whose static programs apply them.
const FIRST: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if libc_version().is_some_and(|version| version >= FIRST) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of glibc here, which is the one km is linked with.
fn libc_version() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
