//! A guest cannot name the monitor's memory: not by a load, not through a system call, not by
//! a file. The addresses are true ones, read from the running monitor.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration::bundle::Bundle;
use integration::guests::{self, Link};
use integration::native_and_km::Case;
use integration::outcome::{self, End};
use integration::rootfs;
use integration::runtime::Runtime;
use serde_json::{Value, json};

/// Everything a guest can reach lies below this address.
const GUEST_END: u64 = 1 << 39;

/// One line of `/proc/PID/maps`.
struct Area {
    start: u64,
    end: u64,
    is_writable: bool,
    text: String,
}

fn areas(pid: u32) -> Result<Vec<Area>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    maps.lines().map(|line| parse(line).with_context(|| format!("parse {line}"))).collect()
}

fn parse(line: &str) -> Option<Area> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    Some(Area {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        is_writable: rest.as_bytes().get(1) == Some(&b'w'),
        text: line.to_owned(),
    })
}

fn probe() -> Case {
    Case::program(&guests::c("name_the_monitor.c", Link::GlibcStatic).expect("the guest compiles"))
}

/// Starts the probe, asks which of its process's areas to try, and returns what it found.
fn try_areas(command: &mut Command, choose: impl Fn(&Area) -> bool) -> Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("the probe's input")?;
    let started = outcome::eventually(Duration::from_secs(20), || {
        let state = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        state.contains(") S ")
    });
    ensure!(started, "the probe does not wait for addresses");

    let mut lines = String::new();
    for area in areas(child.id())?.iter().filter(|area| choose(area)) {
        let write = if area.is_writable { "w" } else { "" };
        writeln!(lines, "{:x} {write}\n{:x} {write}", area.start, area.end - 1)?;
    }
    ensure!(!lines.is_empty(), "no area to try");
    stdin.write_all(lines.as_bytes())?;
    drop(stdin);
    Ok(String::from_utf8(child.wait_with_output()?.stdout)?)
}

#[test]
fn the_probe_reaches_its_own_memory_natively() {
    let probe = guests::c("name_the_monitor.c", Link::GlibcStatic).unwrap();

    let found = try_areas(&mut Command::new(probe), |area| area.text.contains("[heap]")).unwrap();

    assert!(found.contains("read ") && found.contains("write "), "{found}");
    assert!(found.lines().skip(1).all(|line| line.ends_with("reached")), "{found}");
}

#[test]
fn no_system_call_reaches_the_monitors_memory() {
    let mut command = probe().km_command().unwrap();

    let found = try_areas(&mut command, |area| area.start >= GUEST_END).unwrap();

    assert!(found.lines().count() > 10, "{found}");
    assert!(found.lines().skip(1).all(|line| line.ends_with("Bad address")), "{found}");
}

#[test]
fn the_monitors_own_memory_lies_where_no_guest_can_reach() {
    let mut command = probe().km_command().unwrap();
    // The kernel takes the guest's stack for the process's.
    let own = |area: &Area| {
        let labelled = area.text.ends_with("[heap]") || area.text.contains("anon_inode:kvm");
        labelled || area.text.ends_with("/km") || area.text.ends_with("[vdso]")
    };

    let found = try_areas(&mut command, |area| own(area)).unwrap();

    assert!(found.lines().count() > 10, "{found}");
    assert!(!found.contains("reached"), "{found}");
}

#[test]
fn a_load_from_the_monitors_memory_is_sigsegv() {
    for address in ["8000000000", "555555554000", "7f0000000000", "7ffff7ff0000", "7fffffffe000"] {
        let km = probe().arg(address).run_under_km().unwrap();

        assert_eq!(km.end, End::Killed(11), "{address}: {km:?}");
    }
}

#[test]
fn no_file_of_proc_opens_the_monitors_memory_by_any_way() {
    for file in
        ["/proc/self/mem", "/proc/thread-self/mem", "/proc/PID/mem", "/proc/PID/task/PID/mem"]
    {
        let km = probe().arg(file).run_under_km().unwrap();

        assert!(km.is_success() && !km.stdout().contains("opened"), "{file}: {km:?}");
    }
}

#[test]
fn no_thread_gets_hold_of_what_another_must_not_open() {
    let steal = Case::program(&guests::c("steal.c", Link::GlibcStatic).unwrap());

    let both = steal.arg("/proc/self/mem").run().unwrap();

    assert_eq!(both.native.stdout(), "stolen\n", "the attack works");
    assert_eq!(both.km.stdout(), "kept\n", "{both:?}");
}

#[test]
fn no_thread_gets_hold_of_what_another_must_not_execute() {
    let steal = Case::program(&guests::c("steal.c", Link::GlibcStatic).unwrap());

    let both = steal.arg("/proc/self/mem").arg("5").arg("execute").run().unwrap();

    assert_eq!(both.native.stdout(), "kept\n", "{both:?}");
    assert_eq!(both.km.stdout(), "kept\n", "{both:?}");
}

/// Where the monitor of a child that shares memory looked before anybody minded its threads, this was stolen.
#[test]
fn a_child_that_shares_memory_and_has_threads_gets_no_hold_of_it_either() {
    let steal = Case::program(&guests::c("steal_borrowed.c", Link::GlibcStatic).unwrap());

    let both = steal.run().unwrap();

    assert_eq!(both.native.stdout(), "kept\n", "{both:?}");
    assert_eq!(both.km.stdout(), "kept\n", "{both:?}");
}

#[test]
fn a_door_is_one_under_any_name() {
    let enter = "mount --bind /proc/$$/mem /etc/hostname && exec head -c1 /etc/hostname";
    let case = Case::new(["unshare", "-m", "sh", "-c", enter]);

    let km = case.run_under_km().unwrap();

    assert!(km.stderr().contains("Permission denied"), "{km:?}");
}

#[test]
fn a_guest_finds_and_harms_no_descriptor_of_the_monitors() {
    let descriptors = guests::c("descriptors.c", Link::GlibcStatic).unwrap();

    Case::program(&descriptors).assert_same_end(End::Exited(0));
}

#[test]
fn a_containers_root_changes_no_file_of_the_hosts_by_a_descriptors_name() {
    let mut bundle = Bundle::with_args(&["/tmp/change_by_name"]).unwrap();
    let guest = guests::c("change_by_name.c", Link::GlibcStatic).unwrap();
    let mount = json!({"destination": "/tmp/change_by_name", "type": "bind", "source": guest, "options": ["bind"]});
    let rights = json!(["CAP_CHOWN", "CAP_FOWNER", "CAP_DAC_OVERRIDE"]);
    let change = |spec: &mut Value| {
        spec["mounts"].as_array_mut().into_iter().for_each(|mounts| mounts.push(mount.clone()));
        for set in ["bounding", "effective", "permitted"] {
            spec["process"]["capabilities"][set] = rights.clone();
        }
    };
    bundle.change(change).unwrap();
    let bundle_path = bundle.path().to_str().unwrap();

    let ran = Runtime::krun().unwrap().call(["run", "--bundle", bundle_path, "changes"]).unwrap();

    assert_eq!(ran.stdout(), "mounts: 0, changed: 0\n", "{ran:?}");
}

#[test]
fn a_program_without_a_container_changes_no_file_by_a_descriptors_name() {
    let guest = guests::c("change_by_name.c", Link::GlibcStatic).unwrap();

    let km = Case::program(&guest).run_under_km().unwrap();

    assert_eq!(km.stdout(), "mounts: 0, changed: 0\n", "{km:?}");
}

#[test]
fn no_link_in_a_path_leads_to_what_is_the_monitors() {
    let guest = guests::c("links_in_paths.c", Link::GlibcStatic).unwrap();

    let both = Case::program(&guest).run().unwrap();

    assert_eq!(both.native.stdout(), "found: 0, raced: 0, left: 0\n", "{both:?}");
    assert_eq!(both.km.stdout(), both.native.stdout(), "{both:?}");
}

#[test]
fn what_proc_tells_of_addresses_is_the_programs_also_while_it_is_opened() {
    let guest = guests::c("peek.c", Link::GlibcStatic).unwrap();

    let both = Case::program(&guest).run().unwrap();

    assert_eq!(both.native.stdout(), "more: 0\n", "{both:?}");
    assert_eq!(both.km.stdout(), both.native.stdout(), "{both:?}");
}

#[test]
fn no_thread_by_its_number_gives_what_proc_tells_of_the_monitor() {
    let guest = guests::c("peek_by_number.c", Link::GlibcStatic).unwrap();

    let both = Case::program(&guest).run().unwrap();

    assert_eq!(both.native.stdout(), "more: 0\n", "{both:?}");
    assert_eq!(both.km.stdout(), both.native.stdout(), "{both:?}");
}

#[test]
fn a_procfs_that_is_mounted_anew_tells_of_the_program_alone() {
    let guest = guests::c("proc_elsewhere.c", Link::GlibcStatic).unwrap();

    Case::program(&guest).assert_same_end(End::Exited(0));
}

#[test]
fn links_over_the_names_of_descriptors_lead_no_call_elsewhere() {
    let guest = guests::c("links_over.c", Link::GlibcStatic).unwrap();

    Case::program(&guest).assert_same_end(End::Exited(0));
}

#[test]
fn a_procfs_that_is_covered_moved_or_listed_tells_of_the_program_alone() {
    let guest = guests::c("proc_covered.c", Link::GlibcStatic).unwrap();

    Case::program(&guest).assert_same_end(End::Exited(0));
}

#[test]
fn who_watches_openings_is_given_no_files() {
    let guest = guests::c("watch_openings.c", Link::GlibcStatic).unwrap();

    let both = Case::program(&guest).run().unwrap();

    assert_eq!(both.native.stdout(), "files: given\nnames: given\n", "{both:?}");
    assert_eq!(both.km.stdout(), "files: EPERM\nnames: given\n", "{both:?}");
}

#[test]
fn which_pages_of_the_monitor_are_there_is_not_told() {
    let head = [rootfs::BUSYBOX, "head", "-c", "8", "/proc/self/pagemap"];

    let both = Case::new(head.to_vec()).run().unwrap();

    assert_eq!(both.native.end, End::Exited(0), "{both:?}");
    assert_eq!(both.km.end, End::Exited(1), "{both:?}");
    assert!(both.km.stderr().contains("Permission denied"), "{both:?}");
}

#[test]
fn the_sums_of_a_programs_mappings_are_its_own() {
    let sums = |files: &str| {
        let script = format!("cat {files} | awk '/^Rss:/ {{ sum += $2 }} END {{ print sum }}'");
        Case::new(vec![rootfs::BUSYBOX, "sh", "-c", &script]).run().unwrap()
    };

    let (one, all) = (sums("/proc/$$/smaps_rollup"), sums("/proc/$$/smaps"));

    for (one, all) in [(&one.native, &all.native), (&one.km, &all.km)] {
        let kilobytes = |text: &str| text.trim().parse::<u64>().unwrap();
        let (one, all) = (kilobytes(&one.stdout()), kilobytes(&all.stdout()));
        assert!(one > 0 && one.abs_diff(all) <= all / 4, "{one} and {all}");
    }
}

#[test]
fn the_executable_that_proc_names_is_the_programs() {
    let busybox = |args: &[&str]| Case::new([&[rootfs::BUSYBOX], args].concat());

    busybox(&["readlink", "-f", "/proc/self/exe"]).assert_same_end(End::Exited(0));
    busybox(&["md5sum", "/proc/self/exe", "/proc/thread-self/exe"]).assert_same_end(End::Exited(0));
    busybox(&["ls", "-lL", "/proc/self/exe"]).assert_same_end(End::Exited(0));
}
