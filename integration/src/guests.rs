//! Compiles the small guest programs of `monitor/tests/guests`, each of which asks one question.
//!
//! A program is compiled again only when its source is newer. Tests run in processes of their
//! own, so a compiler writes to a name of its own, and the result appears by a rename.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use anyhow::{Context, Result, ensure};

use crate::{built, outcome};

/// Where the sources are.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../monitor/tests/guests");

/// How a C or C++ program is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// glibc, at a fixed address.
    GlibcStatic,
    /// glibc, static and relocating itself.
    GlibcStaticPie,
    /// glibc, through its dynamic loader.
    GlibcDynamic,
    /// musl, at a fixed address.
    MuslStatic,
    /// musl, through its dynamic loader.
    MuslDynamic,
}

impl Link {
    /// Every way there is.
    pub const ALL: [Self; 5] = [
        Self::GlibcStatic,
        Self::GlibcStaticPie,
        Self::GlibcDynamic,
        Self::MuslStatic,
        Self::MuslDynamic,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::GlibcStatic => "glibc-static",
            Self::GlibcStaticPie => "glibc-static-pie",
            Self::GlibcDynamic => "glibc-dynamic",
            Self::MuslStatic => "musl-static",
            Self::MuslDynamic => "musl-dynamic",
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Self::GlibcStatic | Self::MuslStatic => "-static",
            Self::GlibcStaticPie => "-static-pie",
            Self::GlibcDynamic | Self::MuslDynamic => "-pie",
        }
    }

    fn compiler(self, source: &str) -> &'static str {
        match self {
            Self::MuslStatic | Self::MuslDynamic => "musl-gcc",
            Self::GlibcStatic | Self::GlibcStaticPie | Self::GlibcDynamic => {
                if has_extension(source, "cc") { "g++" } else { "gcc" }
            }
        }
    }
}

/// A C or C++ guest, such as `brk.c`, compiled and linked.
pub fn c(source: &str, link: Link) -> Result<PathBuf> {
    build(source, link.name(), |from, to| {
        let mut compiler = Command::new(link.compiler(source));
        compiler.args(["-O2", "-g", "-Wall", "-Wextra", "-Werror", link.flag(), "-o"]);
        compiler.arg(to).arg(from);
        Ok(compiler)
    })
}

/// A static program at `to` from the text of one in C.
pub fn c_text(text: &str, to: &Path) -> Result<()> {
    let mut gcc = Command::new("gcc");
    gcc.args(["-static", "-O1", "-x", "c", "-o"]).arg(to).arg("-");
    let outcome = outcome::run(&mut gcc, Some(text.as_bytes()))?;
    ensure!(outcome.is_success(), "{outcome:?}");
    Ok(())
}

/// A Go guest, such as `hello.go`, compiled into a static binary.
pub fn go(source: &str) -> Result<PathBuf> {
    let target = built::target_dir()?;
    build(source, "go", |from, to| {
        let pinned = target.join("tools/go/bin/go");
        ensure!(pinned.exists(), "there is no {}: run integration/prepare", pinned.display());
        let mut compiler = Command::new(pinned);
        compiler.env("GOCACHE", target.join("go-cache")).env("GOPATH", target.join("go-path"));
        compiler.envs([("CGO_ENABLED", "0"), ("GO111MODULE", "off"), ("GOTOOLCHAIN", "local")]);
        compiler.args(["build", "-o"]).arg(to).arg(from);
        Ok(compiler)
    })
}

fn build(
    source: &str,
    variant: &str,
    compiler: impl Fn(&Path, &Path) -> Result<Command>,
) -> Result<PathBuf> {
    let from = Path::new(SOURCES).join(source);
    let dir = built::target_dir()?.join("guests");
    let to = dir.join(format!("{source}-{variant}"));
    if is_newer(&to, &from) {
        return Ok(to);
    }
    fs::create_dir_all(&dir)?;
    compile(&from, &to, compiler)?;
    Ok(to)
}

fn compile(
    from: &Path,
    to: &Path,
    compiler: impl Fn(&Path, &Path) -> Result<Command>,
) -> Result<()> {
    let unfinished = to.with_added_extension(process::id().to_string());
    let output = compiler(from, &unfinished)?.output().context("start a compiler")?;
    ensure!(
        output.status.success(),
        "compile {}: {}",
        from.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    fs::rename(unfinished, to).context("put a compiled guest in its place")
}

fn is_newer(built: &Path, source: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    time(built).is_some_and(|built| time(source).is_some_and(|source| built > source))
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == extension)
}
