//! Who is measured: Linux itself, km, and the runtimes of containers.
//!
//! One more contestant, such as krun with another setting, is one more line in [`Contestants::programs`] or
//! [`Contestants::containers`]. `KM_FLAGS` and `KRUN_FLAGS` in the environment add one without any change.

use std::env;
use std::path::Path;

use anyhow::Result;
use integration::bundle::Bundle;
use integration::outcome;
use integration::runtime::Runtime;

use crate::tables::reason;
use crate::view::View;

/// Linux itself.
pub(crate) const NATIVE: &str = "native";
/// The monitor, without a container.
pub(crate) const KM: &str = "km";
/// Containers in virtual machines.
pub(crate) const KRUN: &str = "krun vm";
/// Containers by krun, without virtual machines.
pub(crate) const KRUN_NATIVE: &str = "krun native";
/// The measure of runtimes.
pub(crate) const RUNC: &str = "runc";
/// The quick one.
pub(crate) const CRUN: &str = "crun";
/// The one that has a kernel of its own.
pub(crate) const RUNSC: &str = "runsc";

/// What runsc is told. The other platforms that it has do not run without KVM's own hardware; with the
/// host's network its programs can be reached like those of all others.
pub(crate) const RUNSC_OPTIONS: [&str; 2] = ["--platform=ptrace", "--network=host"];

/// Someone who runs programs.
#[derive(Debug)]
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Why nothing runs here.
    pub(crate) refusal: Option<String>,
}

/// How programs are run.
#[derive(Debug)]
pub(crate) enum Kind {
    Native,
    Km(Vec<String>),
    Container(Runtime, Option<View>),
}

/// All of one kind of measurement, in the order of columns.
#[derive(Debug)]
pub(crate) struct Contestants(pub(crate) Vec<Contestant>);

impl Contestants {
    /// Those that run programs. Containers see only what is mounted already.
    pub(crate) fn programs() -> Result<Self> {
        let bare = |name: &str, kind| Contestant { name: name.to_owned(), kind, refusal: None };
        let mut all = vec![bare(NATIVE, Kind::Native), bare(KM, Kind::Km(Vec::new()))];
        if let Some(flags) = flags("KM_FLAGS") {
            all.push(bare(&format!("{KM} {}", flags.join(" ")), Kind::Km(flags)));
        }
        all.extend(Self::containers()?.0);
        Ok(Self(all))
    }

    /// Those that run containers.
    pub(crate) fn containers() -> Result<Self> {
        let mut all = vec![container(KRUN, Runtime::krun()?)?];
        if let Some(flags) = flags("KRUN_FLAGS") {
            let name = format!("{KRUN} {}", flags.join(" "));
            all.push(container(&name, Runtime::krun()?.with_options(flags))?);
        }
        all.push(container(KRUN_NATIVE, Runtime::krun_natively()?)?);
        all.push(container(RUNC, Runtime::runc()?)?);
        all.push(container(CRUN, Runtime::other(Path::new("crun"))?)?);
        let runsc = Runtime::other(Path::new("runsc"))?.with_options(RUNSC_OPTIONS);
        all.push(container(RUNSC, runsc)?);
        Ok(Self(all))
    }

    /// Names of all, which are the columns of tables.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(|one| one.name.clone()).collect()
    }

    /// What a table of these must say about them.
    pub(crate) fn notes(&self) -> String {
        self.0.iter().filter_map(Contestant::note).collect()
    }
}

impl Contestant {
    /// What a reader must know, as a further sentence.
    fn note(&self) -> Option<String> {
        let name = &self.name;
        match (&self.refusal, &self.kind) {
            (Some(reason), _) => Some(format!(" {name} does not run here: {reason}.")),
            (None, Kind::Container(_, Some(_))) => Some(format!(
                " {name} refuses this host, which has cgroups of both versions, and was run in a mount \
                 namespace without version 2."
            )),
            (None, Kind::Container(_, None) | Kind::Native | Kind::Km(_)) => None,
        }
    }

    /// Takes away a container that was left.
    pub(crate) fn clear(&self, id: &str) {
        if let Kind::Container(runtime, _) = &self.kind {
            // There may be none.
            drop(self.within(|| runtime.call(["delete", "--force", id])));
        }
    }

    /// Does something where this contestant's commands are to be started.
    pub(crate) fn within<T>(&self, what: impl FnOnce() -> Result<T>) -> Result<T> {
        match &self.kind {
            Kind::Container(_, Some(view)) => view.within(what),
            Kind::Container(_, None) | Kind::Native | Kind::Km(_) => what(),
        }
    }
}

fn flags(variable: &str) -> Option<Vec<String>> {
    let flags: Vec<_> = env::var(variable).ok()?.split_whitespace().map(str::to_owned).collect();
    (!flags.is_empty()).then_some(flags)
}

/// Finds out how this runtime runs here, and whether it does.
fn container(name: &str, runtime: Runtime) -> Result<Contestant> {
    let bundle = Bundle::with_args(&["/bin/true"])?;
    let mut refusal = attempt(&runtime, &bundle);
    let mut view = None;
    if refusal.as_ref().is_some_and(|reason| reason.contains("hybrid")) {
        let without = View::without_version_2()?;
        refusal = without.within(|| Ok(attempt(&runtime, &bundle)))?;
        view = Some(without);
    }
    Ok(Contestant { name: name.to_owned(), kind: Kind::Container(runtime, view), refusal })
}

fn attempt(runtime: &Runtime, bundle: &Bundle) -> Option<String> {
    let mut command = runtime.command(["run", "--bundle"]);
    command.arg(bundle.path()).arg("attempt");
    match outcome::run(&mut command, None) {
        Ok(outcome) => (!outcome.is_success()).then(|| reason(&outcome)),
        Err(error) => Some(format!("{:#}", error.root_cause())),
    }
}
