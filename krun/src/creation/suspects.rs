//! What of a bundle libcontainer could not do, found out afterwards.
//!
//! Its errors name neither what they are about nor their cause. So each part that may be at fault
//! is looked at once more, from the host, and the first that cannot be done is told in runc's words:
//! dockerd turns some of them into exit codes, and adds advice.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, OFlags, statat};
use serde_json::Value;
use spec_compat::Config;

use super::bundle::Bundle;
use super::{CreateError, in_container, init_words};
use crate::container::oom;
use crate::container::start_gate::Reports;
use crate::error_chain::as_go_writes;

/// The file systems of this kernel, one a line.
const FILE_SYSTEMS: &str = "/proc/filesystems";

/// Whether the kernel has AppArmor.
const APPARMOR: &str = "/sys/module/apparmor/parameters/enabled";

/// A limit below which a container may have no room to be made, whoever killed its process.
const LITTLE_MEMORY: i64 = 16 << 20;

/// A bundle that something is wrong with.
#[derive(Debug)]
pub(super) struct Suspects {
    config: Config,
    rootfs: PathBuf,
    bundle: PathBuf,
    cgroups: Vec<PathBuf>,
}

impl Suspects {
    pub(super) fn of(bundle: &Bundle, cgroups: &[PathBuf]) -> Self {
        let (config, rootfs) = (bundle.config.clone(), bundle.rootfs.clone());
        Self { config, rootfs, bundle: bundle.directory.clone(), cgroups: cgroups.to_vec() }
    }

    /// libcontainer's failure, in the best words there are for it.
    pub(super) fn error(&self, failure: &str, reports: &Reports) -> CreateError {
        let words = || {
            let cwd = self.config.process().cwd().display().to_string();
            let told = init_words(failure, reports.cause.as_deref(), &cwd);
            self.culprit(&told).unwrap_or(told)
        };
        CreateError::Init(reports.fault.clone().unwrap_or_else(words))
    }

    fn culprit(&self, told: &str) -> Option<String> {
        if told.contains("apparmor") {
            return Some(apparmor());
        }
        if told.contains("procfs failed") {
            return self.sysctl();
        }
        if told.contains("failed to prepare rootfs") {
            return self.mount();
        }
        if told.contains("drop capabilities") {
            return self.capabilities();
        }
        if told.contains("EMFILE") {
            return self.descriptors();
        }
        let named = [("set up tty", "terminal"), ("/proc/self/oom_score_adj", "oomScoreAdj")];
        if let Some((_, field)) = named.into_iter().find(|(words, _)| told.contains(words)) {
            return Some(format!("process.{field}: {told}"));
        }
        told.contains("makes another died").then(|| self.memory()).flatten()
    }

    /// Sets of which one has what it must not have without the other. runc's words behind it.
    fn capabilities(&self) -> Option<String> {
        let sets = self.config.document().pointer("/process/capabilities")?;
        let list = |set: &str| sets[set].as_array().map_or(&[][..], Vec::as_slice);
        [("effective", "permitted"), ("inheritable", "bounding")].into_iter().find_map(
            |(set, within)| {
                let alone = list(set).iter().find(|one| !list(within).contains(one))?.as_str()?;
                let expected = format!("none that process.capabilities.{within} does not have");
                let words = "unable to apply caps: operation not permitted";
                Some(format!(
                    "process.capabilities.{set}: found {alone}, expected {expected}: {words}"
                ))
            },
        )
    }

    /// A limit that leaves none for those who make the container.
    fn descriptors(&self) -> Option<String> {
        let limits = self.config.document().pointer("/process/rlimits")?.as_array()?;
        let place = limits.iter().position(|limit| limit["type"] == "RLIMIT_NOFILE")?;
        let soft = &limits[place]["soft"];
        Some(format!(
            "process.rlimits[{place}].soft: found {soft}, expected more: too many open files"
        ))
    }

    /// A parameter that this kernel does not have, as far as can be seen from the host: the container's
    /// namespaces may have others.
    fn sysctl(&self) -> Option<String> {
        let named = self.config.document().pointer("/linux/sysctl")?.as_object()?;
        let paths = named.keys().map(|name| format!("/proc/sys/{}", name.replace('.', "/")));
        let missing = paths.into_iter().find(|path| !Path::new(path).exists())?;
        Some(format!("linux.sysctl: this may be why: open {missing}: no such file or directory"))
    }

    /// A mount whose source and destination do not fit, or whose file system is none.
    fn mount(&self) -> Option<String> {
        let mounts = self.config.document().get("mounts")?.as_array()?;
        (0..mounts.len()).find_map(|index| {
            let (earlier, mount) = mounts.split_at(index);
            let mount = mount.first()?;
            let fault = if is_bind(mount) { self.bind(earlier, mount) } else { unknown(mount) }?;
            let (source, destination) = (text(mount, "source"), text(mount, "destination"));
            let what = format!("error mounting {source:?} to rootfs at {destination:?}");
            Some(format!("mounts[{index}]: {what}: {fault}"))
        })
    }

    fn bind(&self, earlier: &[Value], mount: &Value) -> Option<String> {
        let (source, destination) = (text(mount, "source"), text(mount, "destination"));
        let place = self.bundle.join(source);
        let found = match fs::metadata(&place) {
            Ok(found) => found,
            Err(error) => {
                let error = error.to_string();
                return Some(format!("stat {}: {}", place.display(), as_go_writes(&error)));
            }
        };
        let is_hidden = |one: &Value| Path::new(destination).starts_with(text(one, "destination"));
        if earlier.iter().any(is_hidden) {
            return None;
        }
        let path = Path::new(destination);
        let target = in_container::open_below(&self.rootfs, path, OFlags::PATH).ok()?;
        let status = statat(target, c"", AtFlags::EMPTY_PATH).ok()?;
        let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
        let fault = format!("mount {}:{destination}: not a directory", place.display());
        (found.is_dir() != is_directory).then_some(fault)
    }

    /// What was killed had no room, as the cgroup says, or as may be where there is little.
    fn memory(&self) -> Option<String> {
        let limit = self.config.document().pointer("/linux/resources/memory/limit")?.as_i64()?;
        let verdict = if oom::has_killed(&self.cgroups) {
            "were too few"
        } else {
            (1..LITTLE_MEMORY).contains(&limit).then_some("may be too few")?
        };
        let words = "the container's first process was killed while it was made: \
                     linux.resources.memory.limit";
        Some(format!("{words} is {limit} bytes, which {verdict}"))
    }
}

/// runc's words; podman looks for the file.
fn apparmor() -> String {
    let is_enabled = fs::read(APPARMOR).is_ok_and(|text| text.starts_with(b"Y"));
    let why = if is_enabled { "no such file or directory" } else { "invalid argument" };
    format!(
        "process.apparmorProfile: unable to apply apparmor profile: apparmor failed to apply \
         profile: write /proc/self/attr/exec: {why}"
    )
}

/// A file system that this kernel does not have.
fn unknown(mount: &Value) -> Option<String> {
    let kind = text(mount, "type");
    let known = fs::read_to_string(FILE_SYSTEMS).ok()?;
    let is_known = known.lines().filter_map(|line| line.split('\t').nth(1)).any(|one| one == kind);
    (!is_known).then(|| format!("file system {kind:?}: no such device"))
}

fn is_bind(mount: &Value) -> bool {
    let mut options = mount["options"].as_array().into_iter().flatten().filter_map(Value::as_str);
    options.any(|option| option == "bind" || option == "rbind")
}

fn text<'a>(mount: &'a Value, name: &str) -> &'a str {
    mount[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use serde_json::{Value, json};
    use spec_compat::Config;

    use super::Suspects;

    fn suspects(directory: &Path, resources: &Value) -> Suspects {
        let document = json!({
            "ociVersion": "1.0.2", "root": {"path": "rootfs"},
            "process": {"args": ["sh"], "cwd": "/"}, "linux": {"resources": resources},
        });
        let config = Config::parse(document.to_string().as_bytes());
        Suspects {
            config: config.expect("it is good"),
            rootfs: directory.join("rootfs"),
            bundle: directory.into(),
            cgroups: vec![directory.into()],
        }
    }

    #[test]
    fn why_a_source_cannot_be_had_is_said_in_linuxs_words() {
        let directory = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| directory.path().join(name));
        fs::write(&file, "").unwrap();
        symlink(&link, &link).unwrap();
        let suspects = suspects(directory.path(), &json!({}));

        for (source, words) in [
            (file.join("x"), "not a directory"),
            (link, "too many levels of symbolic links"),
            (directory.path().join("none"), "no such file or directory"),
        ] {
            let mount = json!({"source": source, "destination": "/mnt", "options": ["bind"]});

            let told = suspects.bind(&[], &mount);

            assert_eq!(told, Some(format!("stat {}: {words}", source.display())));
        }
    }

    #[test]
    fn libcontainers_words_get_the_name_of_the_field() {
        let document = json!({
            "ociVersion": "1.0.2", "root": {"path": "rootfs"},
            "process": {
                "args": ["sh"], "cwd": "/",
                "capabilities": {
                    "inheritable": ["CAP_KILL", "CAP_CHOWN"], "bounding": ["CAP_KILL"],
                },
                "rlimits": [
                    {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
                    {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2},
                ],
            },
        });
        let config = Config::parse(document.to_string().as_bytes()).unwrap();
        let suspects = Suspects { config, ..suspects(Path::new("/nowhere"), &json!({})) };

        for (told, expected) in [
            (
                "failed to drop capabilities: err=x",
                "process.capabilities.inheritable: found CAP_CHOWN, expected none that \
                 process.capabilities.bounding does not have: unable to apply caps: operation not \
                 permitted",
            ),
            (
                "x: EMFILE: Too many open files",
                "process.rlimits[1].soft: found 1, expected more: too many open files",
            ),
            ("failed to set up tty: x", "process.terminal: failed to set up tty: x"),
        ] {
            assert_eq!(suspects.culprit(told).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_limit_of_memory_is_blamed_where_it_was_met_or_is_small() {
        let directory = tempfile::tempdir().unwrap();
        let verdict = |limit: i64| {
            let told = suspects(directory.path(), &json!({"memory": {"limit": limit}})).memory();
            told.and_then(|told| told.split_once("which ").map(|(_, verdict)| verdict.to_owned()))
        };

        assert_eq!(verdict(-1), None);
        assert_eq!(verdict(1 << 30), None);
        assert_eq!(verdict(1 << 20).as_deref(), Some("may be too few"));
        for file in ["memory.events", "memory.oom_control"] {
            let path = directory.path().join(file);
            fs::write(&path, "low 0\noom_kill 1\n").unwrap();
            assert_eq!(verdict(1 << 30).as_deref(), Some("were too few"), "{file}");
            fs::remove_file(&path).unwrap();
        }
    }
}
