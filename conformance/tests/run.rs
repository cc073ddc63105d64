//! `run`: the container's output and status are the caller's.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use conformance::{assert_same, failure};
use integration::guests::{self, Link};
use integration::rootfs;
use serde_json::json;

#[test]
fn output_and_status_of_the_process_are_those_of_run() {
    let shell = ["/bin/sh", "-c", "echo out; echo err >&2; exit 7"];
    assert_same(&shell, |stage| {
        let run = stage.with_bundle(&["run"], &["box"])?;
        Ok((run.end, run.stdout(), run.stderr(), stage.runtime.state_entries()))
    });
}

#[test]
fn a_process_that_a_fault_kills_is_128_and_the_signal() {
    assert_same(&["/bin/segv", "null-read"], |stage| {
        let segv = guests::c("segv.c", Link::MuslStatic)?;
        rootfs::add_program(&stage.bundle.in_rootfs(""), "segv", &segv)?;
        let run = stage.with_bundle(&["run"], &["box"])?;
        Ok((run.end, run.stdout(), stage.runtime.state_entries()))
    });
}

#[test]
fn a_detached_container_runs_on() {
    assert_same(&["/bin/sleep", "1000"], |stage| {
        let run = stage.with_bundle(&["run", "--detach"], &["box"])?;
        Ok((run.end, stage.runtime.status("box")?))
    });
}

#[test]
fn the_process_runs_as_this_user_in_this_directory() {
    for args in [&["/bin/id"][..], &["/bin/pwd"], &["/bin/uname", "-n"]] {
        assert_same(args, |stage| {
            stage.bundle.change(|spec| {
                spec["process"]["cwd"] = json!("/tmp");
                spec["process"]["user"] =
                    json!({"uid": 65534, "gid": 65533, "additionalGids": [5, 6]});
            })?;
            let run = stage.with_bundle(&["run"], &["box"])?;
            Ok((run.end, run.stdout(), run.stderr()))
        });
    }
}

#[test]
fn an_environment_arrives_as_it_is() {
    assert_same(&["/bin/env"], |stage| {
        stage.bundle.change(|spec| {
            spec["process"]["env"] = json!(["PATH=/bin", "ONE=1", "EMPTY=", "TWO=a b"]);
        })?;
        Ok(stage.with_bundle(&["run"], &["box"])?.stdout())
    });
}

#[test]
fn a_root_filesystem_whose_dev_is_a_plain_directory_runs_twice() {
    assert_same(&["/bin/ls", "/dev"], |stage| {
        stage.bundle.change(|spec| {
            spec["root"]["readonly"] = json!(false);
            spec["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
        })?;
        let run = || stage.with_bundle(&["run"], &["box"]);
        let (first, second) = (run()?, run()?);
        Ok((first.end, first.stdout(), second.end, second.stdout()))
    });
}

#[test]
fn a_program_is_found_as_runc_finds_it() {
    for program in ["true", "/bin/true", "bin/true", "./bin/true", "/bin/../bin/true"] {
        assert_same(&[program], |stage| Ok(stage.with_bundle(&["run"], &["box"])?.end));
    }
}

#[test]
fn a_program_that_cannot_be_started_fails_create_with_runcs_phrases() {
    for program in ["/no/such", "nosuch", "/etc/passwd", "etc/passwd"] {
        assert_same(&[program], |stage| {
            let create = stage.with_bundle(&["create"], &["box"])?;
            Ok((failure(&create), stage.runtime.state_entries()))
        });
    }
}

#[test]
fn what_the_container_sees_of_itself_is_the_same() {
    let names = ["/bin/ls", "/", "/dev", "/proc/self/fd"];
    let modes = ["/bin/ls", "-l", "/bin", "/etc"];
    for args in [names, modes] {
        assert_same(&args, |stage| {
            let run = stage.with_bundle(&["run"], &["box"])?;
            Ok((run.end, run.stdout(), run.stderr()))
        });
    }
}

#[test]
fn a_program_may_have_few_descriptors() {
    let script = "ulimit -Sn; ulimit -Hn; echo pipe | cat; false < /nosuch || echo on";
    for (soft, hard) in [(7, 1024), (20, 20), (64, 64)] {
        assert_same(&["/bin/sh", "-c", script], |stage| {
            let limit = json!([{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}]);
            stage.bundle.change(|spec| spec["process"]["rlimits"] = limit)?;
            let ran = stage.with_bundle(&["run"], &["box"])?;
            anyhow::ensure!(
                ran.stdout().starts_with(&format!("{soft}\n{hard}\npipe\n")),
                "{ran:?}"
            );
            Ok(ran.stdout())
        });
    }
}

/// Each thread's virtual CPU is a descriptor of the monitor's.
#[test]
fn a_program_with_few_descriptors_may_have_many_threads() {
    assert_same(&["/bin/threads", "10", "400"], |stage| {
        let program = guests::c("thread_churn.c", Link::GlibcStatic)?;
        rootfs::add_program(&stage.bundle.in_rootfs(""), "threads", &program)?;
        let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}]);
        stage.bundle.change(|spec| spec["process"]["rlimits"] = limit)?;
        let ran = stage.with_bundle(&["run"], &["box"])?;
        Ok((ran.end, ran.stdout()))
    });
}

#[test]
fn a_further_program_may_have_few_descriptors() {
    assert_same(&["/bin/sleep", "1000"], |stage| {
        let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 16, "hard": 16}]);
        stage.bundle.change(|spec| spec["process"]["rlimits"] = limit)?;
        stage.create("box")?;
        stage.runtime.must(["start", "box"])?;
        let ran = stage.runtime.call(["exec", "box", "/bin/sh", "-c", "ulimit -n"])?;
        Ok((failure(&ran), ran.stdout()))
    });
}
