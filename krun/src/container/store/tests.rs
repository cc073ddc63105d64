//! The store, on a temporary directory.

use std::collections::BTreeMap;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use krun_policy::Mode;
use spec_compat::Status;

use super::{Store, StoreError};
use crate::container::cgroups::Company;
use crate::container::id::ContainerId;
use crate::container::process::ProcessName;
use crate::container::record::Record;
use crate::container::start_gate;
use crate::systemd::Owner;

fn record() -> Record {
    Record {
        id: "web".into(),
        bundle: "/bundle".into(),
        rootfs: "/bundle/rootfs".into(),
        created: "2026-01-02T03:04:05Z".into(),
        annotations: BTreeMap::new(),
        process: None,
        unit: None,
        systemd: Owner::Host,
        cgroups: Vec::new(),
        memberships: Vec::new(),
        company: Company::Nobody,
        hides_cgroups: false,
        mode: Mode::Vm,
        rule: "default".into(),
        has_pid_namespace: true,
        has_new_keyring: true,
        poststart: Vec::new(),
        poststop: Vec::new(),
    }
}

fn this_process() -> ProcessName {
    ProcessName::of(i32::try_from(process::id()).unwrap()).unwrap()
}

fn id() -> ContainerId {
    ContainerId::parse("web").unwrap()
}

#[test]
fn a_name_can_be_taken_once() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::new(root.path().join("deep/root"));

    let (entry, _lock) = store.reserve(&id()).unwrap();

    assert!(matches!(store.reserve(&id()), Err(StoreError::Exists)));
    entry.remove().unwrap();
    assert!(store.reserve(&id()).is_ok());
}

#[test]
fn a_container_that_was_never_made_does_not_exist() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::new(root.path().into());

    let error = store.find("web").unwrap_err();

    assert_eq!(error.to_string(), "container does not exist");
    assert!(matches!(store.find("../web"), Err(StoreError::Id(_))));
}

#[test]
fn the_status_follows_the_process_and_the_gate() {
    let root = tempfile::tempdir().unwrap();
    let (entry, _lock) = Store::new(root.path().into()).reserve(&id()).unwrap();
    let mut record = record();

    let gate = start_gate::create(entry.directory()).unwrap();
    record.process = Some(this_process());
    assert_eq!(entry.status(&record), Status::Created);

    drop(gate);
    start_gate::remove(entry.directory()).unwrap();
    assert_eq!(entry.status(&record), Status::Running);

    record.process = Some(ProcessName { start_time: 1, ..this_process() });
    assert_eq!(entry.status(&record), Status::Stopped);
    assert_eq!(record.state(Status::Stopped).pid, 0);
}

#[test]
fn a_reader_never_sees_half_a_record() {
    let root = tempfile::tempdir().unwrap();
    let (entry, lock) = Store::new(root.path().into()).reserve(&id()).unwrap();
    let mut record = record();
    record.annotations.insert("padding".into(), "x".repeat(100_000));
    entry.save(&record, &lock).unwrap();
    let is_done = AtomicBool::new(false);

    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                entry.save(&record, &lock).unwrap();
            }
            is_done.store(true, Ordering::Relaxed);
        });
        while !is_done.load(Ordering::Relaxed) {
            assert_eq!(entry.load().unwrap().id, "web");
        }
    });
}

#[test]
fn a_damaged_record_is_named() {
    let root = tempfile::tempdir().unwrap();
    let (entry, _lock) = Store::new(root.path().into()).reserve(&id()).unwrap();
    let path = entry.directory().join("state.json");
    std::fs::write(&path, "{").unwrap();

    let error = entry.load().unwrap_err();

    assert_eq!(error.to_string(), path.display().to_string());
}

#[test]
fn looking_for_a_container_that_is_being_removed_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let (entry, _lock) = Store::new(root.path().into()).reserve(&id()).unwrap();
    std::fs::remove_file(entry.directory().join("lock")).unwrap();

    assert!(matches!(entry.lock(), Err(StoreError::NotFound)));
    entry.remove().unwrap();

    assert!(!entry.directory().exists());
}

#[test]
fn what_others_still_write_there_does_not_keep_a_container() {
    let root = tempfile::tempdir().unwrap();
    let (entry, _lock) = Store::new(root.path().into()).reserve(&id()).unwrap();

    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            // As an `exec` does: a directory of its own, and files in it.
            let own = entry.directory().join("exec-1");
            std::fs::create_dir(&own)?;
            (0..2000).try_for_each(|number| std::fs::write(own.join(number.to_string()), "x"))
        });
        entry.remove().unwrap();
        drop(writer.join().unwrap());
    });

    assert!(!entry.directory().exists());
}

#[test]
fn a_name_that_is_taken_anew_while_its_directory_is_removed_stays_taken() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::new(root.path().into());
    let (entry, lock) = store.reserve(&id()).unwrap();
    for number in 0..2000 {
        std::fs::write(entry.directory().join(number.to_string()), "x").unwrap();
    }

    let again = thread::scope(|scope| {
        let taker = scope.spawn(|| {
            loop {
                match store.reserve(&id()) {
                    Err(StoreError::Exists) => thread::yield_now(),
                    taken => return taken,
                }
            }
        });
        entry.remove().unwrap();
        taker.join().unwrap()
    });

    let (entry, again) = again.unwrap();
    assert!(entry.directory().join("lock").exists());
    drop((lock, again));
    assert!(entry.lock().is_ok());
    entry.remove_without_lock().unwrap();
    assert!(entry.directory().exists());
}

#[test]
fn what_is_left_of_a_killed_removal_is_no_container_and_in_nobodys_way() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::new(root.path().into());
    let (entry, _lock) = store.reserve(&id()).unwrap();
    let left = root.path().join(format!(".removed~{}~0", process::id()));
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("lock"), "").unwrap();

    assert_eq!(store.entries().unwrap().len(), 1);
    entry.remove().unwrap();

    assert!(store.entries().unwrap().is_empty());
    assert!(!entry.directory().exists());
}
