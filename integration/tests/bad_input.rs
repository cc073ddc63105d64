//! What users and images get wrong: one clear message, the right exit status, nothing left.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use integration::bundle::Bundle;
use integration::outcome::{self, End, Outcome};
use integration::runtime::Runtime;
use integration::sleeper::Sleeper;
use serde_json::json;

/// Shell commands that take `/dev/kvm` away in a mount namespace of their own.
const WITHOUT_KVM: &str = "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && \
                           mknod -m 666 /dev/zero c 1 5 && mknod -m 666 /dev/full c 1 7 && \
                           mknod -m 666 /dev/random c 1 8 && mknod -m 666 /dev/urandom c 1 9 && \
                           mknod -m 666 /dev/tty c 5 0";
const FORBIDDEN_KVM: &str = "mount -t tmpfs -o nodev none /mnt && mknod /mnt/kvm c 10 232 && \
                             mount --bind /mnt/kvm /dev/kvm";
const FALSE_KVM: &str = "mount --bind /dev/null /dev/kvm";

/// A bundle with one fault, and what `create` made of it.
struct Attempt {
    runtime: Runtime,
    bundle: Bundle,
}

impl Attempt {
    fn new() -> Self {
        let runtime = Runtime::krun().expect("krun is built");
        let bundle = Bundle::with_args(&["/bin/true"]).expect("a bundle can be made");
        Self { runtime, bundle }
    }

    fn create_command(&self) -> Command {
        // As engines do: then the message stands on standard error as it is, not quoted.
        let log = self.bundle.path().join("log");
        let mut command = self.runtime.command(["--log"]);
        command.arg(log).args(["create", "--bundle"]).arg(self.bundle.path()).arg("bad");
        command
    }

    fn create(&self) -> Outcome {
        outcome::run(&mut self.create_command(), None).expect("krun can be started")
    }

    /// `create` in a mount namespace that this shell command has changed.
    fn create_after(&self, change: &str) -> Outcome {
        let create = self.create_command();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &format!("{change} && exec \"$@\""), "sh"]);
        command.arg(create.get_program()).args(create.get_args());
        outcome::run(&mut command, None).expect("unshare can be started")
    }

    /// Fails unless `create` failed with each of these words and left nothing.
    #[track_caller]
    fn assert_refused(&self, outcome: &Outcome, words: &[&str]) {
        assert_eq!(outcome.end, End::Exited(1), "{outcome:?}");
        let text = outcome.stderr().to_lowercase();
        let missing: Vec<_> = words.iter().filter(|word| !text.contains(**word)).collect();
        assert!(missing.is_empty(), "{missing:?} is not in {outcome:?}");
        assert!(!text.contains("panicked"), "{outcome:?}");
        self.assert_nothing_is_left();
    }

    #[track_caller]
    fn assert_nothing_is_left(&self) {
        let left = self.bundle.footprint.ensure_nothing_is_left();
        assert!(left.is_ok(), "{left:?}");
        let state = self.runtime.state_entries();
        assert!(state.is_empty(), "state left: {state:?}");
    }

    /// Writes a file of this mode that the process's arguments name.
    fn with_program(mut self, bytes: &[u8], mode: u32) -> Self {
        let path = self.bundle.in_rootfs("bin/program");
        fs::write(&path, bytes).expect("the program can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode be set");
        self.bundle
            .change(|spec| spec["process"]["args"] = json!(["/bin/program"]))
            .expect("config.json can be written");
        self
    }
}

#[test]
fn a_bundle_that_is_good_is_created() {
    let attempt = Attempt::new();

    attempt.runtime.create(attempt.bundle.path(), "good").unwrap();
    attempt.runtime.must(["delete", "--force", "good"]).unwrap();

    attempt.assert_nothing_is_left();
}

#[test]
fn a_bundle_without_config_json_is_refused() {
    let attempt = Attempt::new();
    fs::remove_file(attempt.bundle.path().join("config.json")).unwrap();

    attempt.assert_refused(&attempt.create(), &["config.json"]);
}

#[test]
fn a_bundle_that_is_no_directory_is_refused() {
    let attempt = Attempt::new();
    let file = attempt.bundle.path().join("config.json");

    let in_file = attempt.runtime.call(["create", "--bundle", &file.to_string_lossy(), "bad"]);
    let nowhere = attempt.runtime.call(["create", "--bundle", "/no/such/bundle", "bad"]);

    attempt.assert_refused(&in_file.unwrap(), &["config.json"]);
    attempt.assert_refused(&nowhere.unwrap(), &["/no/such/bundle"]);
}

#[test]
fn a_config_json_that_is_no_json_is_refused_with_its_place() {
    let attempt = Attempt::new();
    fs::write(attempt.bundle.path().join("config.json"), "{\n\"process\": [}").unwrap();

    attempt.assert_refused(&attempt.create(), &["config.json", "line 2"]);
}

#[test]
fn all_faults_of_a_config_json_are_told_at_once() {
    let mut attempt = Attempt::new();
    let faults = |spec: &mut serde_json::Value| {
        spec["process"]["cwd"] = json!("relative");
        spec["process"]["args"] = json!([]);
        spec["root"] = json!({"path": ""});
    };
    attempt.bundle.change(faults).unwrap();

    attempt.assert_refused(&attempt.create(), &["process.cwd", "process.args", "root.path"]);
}

#[test]
fn a_field_of_the_wrong_type_is_named() {
    let mut attempt = Attempt::new();
    attempt.bundle.change(|spec| spec["process"]["user"]["uid"] = json!("root")).unwrap();

    attempt.assert_refused(&attempt.create(), &["uid", "string"]);
}

/// What `setresuid` takes for no user: the last says "as before", which is root.
const NO_IDS: [u32; 3] = [2_147_483_648, 4_294_967_294, 4_294_967_295];
const LAST_ID: u32 = 2_147_483_647;
const ID_RANGE: &str = "uids and gids must be in range 0-2147483647";

#[test]
fn users_and_groups_that_linux_does_not_take_for_ones_are_refused_as_by_runc() {
    let run = |runtime: Runtime, user: serde_json::Value| {
        let mut bundle = Bundle::with_args(&["/bin/id"]).expect("a bundle can be made");
        bundle.change(|spec| spec["process"]["user"] = user).expect("it can be changed");
        let run = runtime.call(["run", "--bundle", &*bundle.path().to_string_lossy(), "web"]);
        bundle.footprint.ensure_nothing_is_left().expect("nothing is left");
        run.expect("it can be started")
    };
    for id in NO_IDS {
        for user in [
            json!({"uid": id, "gid": 0}),
            json!({"uid": 0, "gid": id}),
            json!({"uid": 0, "gid": 0, "additionalGids": [id]}),
        ] {
            for runtime in Runtime::all().expect("runc, and a built krun") {
                let refused = run(runtime, user.clone());

                assert_eq!(refused.end, End::Exited(1), "{user}: {refused:?}");
                assert!(refused.stderr().contains(ID_RANGE), "{user}: {refused:?}");
                assert_eq!(refused.stdout(), "", "{user}");
            }
        }
    }
    let last = json!({"uid": LAST_ID, "gid": LAST_ID, "additionalGids": [LAST_ID]});
    let [expected, got, native] =
        Runtime::all().expect("runc, and a built krun").map(|runtime| run(runtime, last.clone()));
    assert!(expected.stdout().starts_with("uid=2147483647 gid=2147483647"), "{expected:?}");
    assert_eq!(got, expected);
    assert_eq!(native, expected, "natively");
}

#[test]
fn exec_refuses_users_and_groups_that_linux_does_not_take_for_ones() {
    let runtimes = Runtime::all().expect("runc, and a built krun");
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("process.json");
    for sleeper in runtimes.map(Sleeper::new) {
        for id in NO_IDS {
            let section = json!({
                "args": ["id"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": id, "gid": 0}
            });
            fs::write(&file, section.to_string()).expect("the section can be written");
            for args in [
                &["--user", &id.to_string(), "web", "id"][..],
                &["--user", &format!("0:{id}"), "web", "id"],
                &["--additional-gids", &id.to_string(), "web", "id"],
                &["--process", &file.to_string_lossy(), "web"],
            ] {
                let refused = sleeper.exec(args, None);

                assert_eq!(refused.end, End::Exited(255), "{args:?}: {refused:?}");
                assert!(refused.stderr().contains(ID_RANGE), "{args:?}: {refused:?}");
                assert_eq!(refused.stdout(), "", "{args:?}");
            }
        }
        let last = sleeper.exec(&["--user", "2147483647:2147483647", "web", "id"], None);
        assert!(last.stdout().starts_with("uid=2147483647 gid=2147483647"), "{last:?}");
        sleeper.finish();
    }
}

#[test]
fn a_root_filesystem_that_is_not_there_is_refused() {
    let mut attempt = Attempt::new();
    attempt.bundle.change(|spec| spec["root"]["path"] = json!("nowhere")).unwrap();

    attempt.assert_refused(&attempt.create(), &["nowhere", "no such file"]);
}

#[test]
fn an_id_that_is_taken_is_refused_and_its_container_stays() {
    let attempt = Attempt::new();
    attempt.runtime.create(attempt.bundle.path(), "bad").unwrap();

    let again = attempt.create();

    assert_eq!(again.end, End::Exited(1), "{again:?}");
    assert!(again.stderr().contains("container with given ID already exists"), "{again:?}");
    assert_eq!(attempt.runtime.status("bad").unwrap(), "created");
    attempt.runtime.must(["delete", "--force", "bad"]).unwrap();
    attempt.assert_nothing_is_left();
}

#[test]
fn an_id_that_could_be_a_path_is_refused() {
    let attempt = Attempt::new();
    for id in ["", ".", "..", "../x", "a/b", "/tmp/x", "a b", "a\nb", "é", &"x".repeat(2000)] {
        let bundle = attempt.bundle.path().to_string_lossy();
        let outcome = attempt.runtime.call(["create", "--bundle", &bundle, id]).unwrap();

        attempt.assert_refused(&outcome, &["id"]);
    }
}

#[test]
fn a_program_that_is_not_there_is_refused_in_runcs_words() {
    let mut attempt = Attempt::new();
    attempt.bundle.change(|spec| spec["process"]["args"] = json!(["/no/such"])).unwrap();
    attempt.assert_refused(&attempt.create(), &["exec: \"/no/such\": stat /no/such: no such file"]);

    attempt.bundle.change(|spec| spec["process"]["args"] = json!(["nosuch"])).unwrap();
    attempt.assert_refused(&attempt.create(), &["exec: \"nosuch\": executable file not found"]);
}

#[test]
fn a_program_that_may_not_be_executed_is_refused_in_runcs_words() {
    let attempt = Attempt::new().with_program(b"#!/bin/sh\n", 0o644);

    attempt.assert_refused(&attempt.create(), &["exec: \"/bin/program\": permission denied"]);
}

#[test]
fn a_program_that_is_no_elf_is_refused() {
    for bytes in [&b"just text"[..], b"", b"\x7fELF", b"MZ\x90\0 a program of another system"] {
        let attempt = Attempt::new().with_program(bytes, 0o755);

        attempt.assert_refused(&attempt.create(), &["/bin/program", "exec format error"]);
    }
}

#[test]
fn a_program_for_another_machine_is_refused() {
    let mut arm = fs::read("/bin/true").unwrap();
    arm[18] = 183; // e_machine: AArch64.

    let attempt = Attempt::new().with_program(&arm, 0o755);

    attempt.assert_refused(&attempt.create(), &["/bin/program", "exec format error"]);
}

#[test]
fn a_program_whose_loader_is_missing_is_refused() {
    let attempt = Attempt::new().with_program(&fs::read("/bin/true").unwrap(), 0o755);

    let words = ["/bin/program", "/lib64/ld-linux-x86-64.so.2", "no such file"];
    attempt.assert_refused(&attempt.create(), &words);
}

#[test]
fn a_script_whose_interpreter_is_missing_is_refused() {
    let attempt = Attempt::new().with_program(b"#!/no/such/shell\n", 0o755);

    attempt.assert_refused(&attempt.create(), &["/no/such/shell", "no such file"]);
}

#[test]
fn a_machine_without_kvm_is_told_what_is_missing() {
    for change in [WITHOUT_KVM, FORBIDDEN_KVM, FALSE_KVM] {
        let attempt = Attempt::new();

        attempt.assert_refused(&attempt.create_after(change), &["/dev/kvm"]);
    }
}

#[test]
fn a_cgroup_that_cannot_be_made_is_told_and_nothing_is_left() {
    let mut attempt = Attempt::new();
    let limit = json!({"limit": 0x7fff_ffff_ffff_ffff_i64, "swap": 5});
    attempt.bundle.change(|spec| spec["linux"]["resources"]["memory"] = limit).unwrap();

    attempt.assert_refused(&attempt.create(), &["memory"]);
}

#[test]
fn a_failed_create_speaks_on_the_log_too() {
    let attempt = Attempt::new();
    let log = attempt.bundle.path().join("log.json");
    fs::remove_file(attempt.bundle.path().join("config.json")).unwrap();
    let mut command = Command::new(attempt.runtime.program());
    command.arg("--root").arg(attempt.runtime.root()).arg("--log").arg(&log);
    command.args(["--log-format", "json", "create", "--bundle"]);

    outcome::run(command.arg(attempt.bundle.path()).arg("bad"), None).unwrap();

    assert!(last_line(&log).contains("config.json"), "{}", last_line(&log));
}

fn last_line(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().last().unwrap_or_default().to_owned()
}
