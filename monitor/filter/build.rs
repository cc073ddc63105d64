//! Translates the list of calls while the crate is built: no start of a monitor takes the time.
#![expect(dead_code, unreachable_pub, reason = "the modules are the library's, which exports them")]

#[path = "src/assemble.rs"]
mod assemble;
#[path = "src/list/mod.rs"]
mod list;
#[path = "src/translate.rs"]
mod translate;

use std::{env, fs, io, path::Path};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    let directory = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    fs::write(Path::new(&directory).join("program"), translate::program(list::CALLS))
}
