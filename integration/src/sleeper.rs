//! A running container that sleeps, for what is done to running containers.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::bundle::Bundle;
use crate::outcome::{self, Outcome};
use crate::runtime::Runtime;

/// A running container called `web` that sleeps.
#[derive(Debug)]
pub struct Sleeper {
    /// The runtime that has started it.
    pub runtime: Runtime,
    /// Its bundle.
    pub bundle: Bundle,
}

impl Sleeper {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it does not start; so do all the others if the runtime fails.
    pub fn new(runtime: Runtime) -> Self {
        Self::changed(runtime, |_| {})
    }

    /// Starts it with another specification.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn changed(runtime: Runtime, change: impl FnOnce(&mut Value)) -> Self {
        let mut bundle = Bundle::with_args(&["/bin/sleep", "1000"]).expect("a bundle can be made");
        bundle.change(change).expect("it can be changed");
        runtime.create(bundle.path(), "web").expect("create");
        runtime.must(["start", "web"]).expect("start");
        Self { runtime, bundle }
    }

    /// One by runc and one by krun.
    ///
    /// # Panics
    ///
    /// If one is not installed, or fails.
    pub fn both() -> [Self; 2] {
        let runc = Runtime::runc().expect("runc is installed");
        [runc, Runtime::krun().expect("krun is built")].map(Self::new)
    }

    /// Calls `exec` with these arguments.
    ///
    /// # Panics
    ///
    /// If the runtime cannot be started.
    pub fn exec(&self, args: &[&str], stdin: Option<&[u8]>) -> Outcome {
        let mut command = self.runtime.command(["exec"].iter().chain(args));
        outcome::run(&mut command, stdin).expect("the runtime can be started")
    }

    /// The container's processes, as its `ps` names them.
    ///
    /// # Panics
    ///
    /// If `ps` fails.
    pub fn processes(&self) -> Vec<i64> {
        let listed = self.runtime.must(["ps", "--format", "json", "web"]).expect("ps");
        serde_json::from_slice(&listed.stdout).expect("ps prints a list of numbers")
    }

    /// Ends the container; fails if something of it is left.
    ///
    /// # Panics
    ///
    /// If something is left.
    pub fn finish(self) {
        self.runtime.must(["delete", "--force", "web"]).expect("delete");
        self.bundle.footprint.ensure_nothing_is_left().expect("nothing is left");
    }

    /// What a file in one of the container's cgroups holds, without a line end.
    pub fn cgroup_file(&self, name: &str) -> Option<String> {
        self.bundle.footprint.cgroup_file(name)
    }

    /// The settings of the container's cgroups: the files that can be written and hold one number or
    /// word, without those that count or list.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let mut settings = BTreeMap::new();
        for directory in self.bundle.footprint.container_cgroups() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let is_writable = entry.metadata().is_ok_and(|file| !file.permissions().readonly());
                let Ok(text) = fs::read_to_string(entry.path()) else { continue };
                let name = entry.file_name().to_string_lossy().into_owned();
                let counts = ["cgroup.", "tasks", "usage", "failcnt"];
                let is_setting = is_writable && !counts.iter().any(|part| name.contains(part));
                if is_setting && text.split_whitespace().count() == 1 {
                    settings.insert(name, text.trim_end().to_owned());
                }
            }
        }
        settings
    }
}
