//! An OCI runtime, ours or runc, called as engines call it, with a state directory of its own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::built;
use crate::outcome::{self, Outcome};

/// The names under which tests of engines know them: the measure, krun, and krun on a host whose policy
/// runs everything natively.
pub const RUNTIMES: [&str; 3] = ["runc", "krun", NATIVELY];

/// krun without virtual machines.
const NATIVELY: &str = "krun-native";

/// Makes every container a native one.
pub const ALL_NATIVE: &str = "[[rule]]\nid = \"all\"\nmode = \"native\"\n";

/// Writes a policy for [`NATIVELY`] below this directory. Returns the policy's directory.
pub fn native_policy(directory: &Path) -> Result<PathBuf> {
    let policy = directory.join("policy");
    fs::create_dir_all(&policy)?;
    fs::write(policy.join("10-all.toml"), ALL_NATIVE)?;
    Ok(policy)
}

/// The program of one of the [`RUNTIMES`], for engines that pass no options on: a script, where there are
/// any, which is written to this directory.
pub fn binary(name: &str, directory: &Path) -> Result<PathBuf> {
    match name {
        "krun" => built::krun(),
        NATIVELY => {
            let policy = native_policy(directory)?;
            with_policy(&directory.join(NATIVELY), &policy)
        }
        _ => Ok(PathBuf::from(name)),
    }
}

/// Writes a script at this path that is krun with a policy.
pub fn with_policy(path: &Path, policy: &Path) -> Result<PathBuf> {
    let krun = built::krun()?;
    let (krun, policy) = (krun.display(), policy.display());
    // It may be in use: what is run stays whole.
    let new = path.with_extension("new");
    fs::write(&new, format!("#!/bin/sh\nexec {krun} --policy-dir {policy} \"$@\"\n"))?;
    fs::set_permissions(&new, Permissions::from_mode(0o755))?;
    fs::rename(new, path)?;
    Ok(path.to_owned())
}

/// The mode and the rule of containers, by their IDs.
pub type Modes = BTreeMap<String, (String, String)>;

/// What krun's `list` names for each container below `--root`.
pub fn modes(krun: &Path, root: &Path) -> Result<Modes> {
    let mut list = Command::new(krun);
    list.arg("--root").arg(root).args(["list", "--format", "json"]);
    let listed: Option<Vec<Value>> =
        serde_json::from_slice(&outcome::run(&mut list, None)?.stdout)?;
    let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
    let named = |one: &Value| (text(one, "id"), (text(one, "mode"), text(one, "rule")));
    Ok(listed.unwrap_or_default().iter().map(named).collect())
}

/// A runtime under test or the one it is compared to.
#[derive(Debug)]
pub struct Runtime {
    program: PathBuf,
    /// Global options, besides `--root`.
    options: Vec<OsString>,
    root: TempDir,
    /// The directory of its policy, if it is not the host's.
    policy: Option<TempDir>,
}

impl Runtime {
    /// The built krun.
    pub fn krun() -> Result<Self> {
        Self::new(&built::krun()?)
    }

    /// The machine's runc: the measure.
    pub fn runc() -> Result<Self> {
        Self::new(Path::new("runc"))
    }

    /// Another runtime of the machine's that has runc's verbs and its `--root`, such as crun.
    pub fn other(program: &Path) -> Result<Self> {
        Self::new(program)
    }

    fn new(program: &Path) -> Result<Self> {
        let root = tempfile::Builder::new().prefix("krun-root").tempdir()?;
        Ok(Self { program: program.to_owned(), options: Vec::new(), root, policy: None })
    }

    /// The same with further global options in each call.
    #[must_use]
    pub fn with_options<S: Into<OsString>>(mut self, options: impl IntoIterator<Item = S>) -> Self {
        self.options.extend(options.into_iter().map(Into::into));
        self
    }

    /// The built krun, on a host whose policy is this file's.
    pub fn krun_with_policy(rules: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("krun-policy").tempdir()?;
        fs::write(directory.path().join("10-test.toml"), rules)?;
        let mut runtime = Self::krun()?;
        runtime.policy = Some(directory);
        Ok(runtime)
    }

    /// The built krun, on a host whose policy runs everything natively.
    pub fn krun_natively() -> Result<Self> {
        Self::krun_with_policy(ALL_NATIVE)
    }

    /// The file of [`Self::krun_with_policy`].
    pub fn policy_file(&self) -> Option<PathBuf> {
        self.policy.as_ref().map(|directory| directory.path().join("10-test.toml"))
    }

    /// The directory of [`Self::krun_with_policy`].
    pub(crate) fn policy_dir(&self) -> Option<&Path> {
        self.policy.as_ref().map(TempDir::path)
    }

    /// Each of the [`RUNTIMES`], in their order.
    pub fn all() -> Result<[Self; 3]> {
        Ok([Self::runc()?, Self::krun()?, Self::krun_natively()?])
    }

    /// The binary.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The directory that `--root` names.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// A call with `--root`, to be changed or started.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.root());
        if self.program.ends_with("krun") {
            command.args(built::exitless());
        }
        if let Some(directory) = &self.policy {
            command.arg("--policy-dir").arg(directory.path());
        }
        command.args(&self.options).args(args);
        command
    }

    /// A call, to its end.
    pub fn call<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Outcome> {
        outcome::run(&mut self.command(args), None)
    }

    /// A call that must succeed.
    pub fn must<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Outcome> {
        let mut command = self.command(args);
        let outcome = outcome::run(&mut command, None)?;
        ensure!(outcome.is_success(), "{command:?}: {outcome:?}");
        Ok(outcome)
    }

    /// `create`, which must succeed.
    pub fn create(&self, bundle: &Path, id: &str) -> Result<()> {
        let args = [OsStr::new("create"), OsStr::new("--bundle"), bundle.as_os_str(), id.as_ref()];
        self.must(args).map(drop)
    }

    /// What `state` prints.
    pub fn state(&self, id: &str) -> Result<Value> {
        let outcome = self.must(["state", id])?;
        serde_json::from_slice(&outcome.stdout).context("read the state's JSON")
    }

    /// The status that `state` prints.
    pub fn status(&self, id: &str) -> Result<String> {
        Ok(self.state(id)?["status"].as_str().unwrap_or("none").to_owned())
    }

    /// Waits until a container has this status.
    pub fn wait_for_status(&self, id: &str, status: &str) -> Result<()> {
        let reached = outcome::eventually(outcome::TIME_LIMIT, || {
            self.status(id).is_ok_and(|now| now == status)
        });
        ensure!(reached, "{id} is {}, not {status}", self.status(id)?);
        Ok(())
    }

    /// Names of what lies in the state directory: nothing, when there is no container.
    pub fn state_entries(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root()).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Runtime {
    /// A failed test may leave containers.
    fn drop(&mut self) {
        for id in self.state_entries() {
            drop(self.call(["delete", "--force", &id]));
        }
    }
}
