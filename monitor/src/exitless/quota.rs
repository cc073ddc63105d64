//! How much processor time the process's cgroups leave it.
//!
//! What the program sees below `/sys/fs/cgroup` may be less than what the host has set, or nothing: then a quota is
//! noticed only when it is used up (see [`super::pace`]).
//!
//! A file that is opened takes the lowest free number for a moment, which another thread of the guest's could rely on,
//! or put a file of its own at. So this is for those that have no others.

use std::{fs::File, io::Read};

use monitor_sys::proc_files;

use rustix::fs::{CWD, Mode, OFlags, fstatfs, openat};

/// `CGROUP_SUPER_MAGIC` and `CGROUP2_SUPER_MAGIC`.
const CGROUPS: [i64; 2] = [0x27_e0eb, 0x6367_7270];
/// What is longer is not read.
const LONGEST: u64 = 64 << 10;

/// The processors that the process may use, as the least of the quotas around it: 0.5 for one half. `None` if there is
/// no quota to be seen.
pub(super) fn processors() -> Option<f64> {
    // Of a true procfs, whatever is at its name.
    let groups = read(proc_files::open("thread-self/cgroup").ok()?)?;
    least(&groups, |path| {
        let file = open(path)?;
        let is_cgroups = fstatfs(&file).is_ok_and(|status| CGROUPS.contains(&status.f_type));
        if is_cgroups { read(file) } else { None }
    })
}

/// A name could be the program's own and lead anywhere: nothing is waited for.
fn open(path: &str) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).ok().map(File::from)
}

fn read(file: File) -> Option<String> {
    let mut text = String::new();
    let len = file.take(LONGEST + 1).read_to_string(&mut text).ok()?;
    u64::try_from(len).is_ok_and(|len| len <= LONGEST).then_some(text)
}

/// The same, given the lines of `/proc/self/cgroup` and who reads files.
fn least(groups: &str, read: impl Fn(&str) -> Option<String>) -> Option<f64> {
    let mut least: Option<f64> = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let found = match controllers {
            "" => {
                along(path, |group| of_version_2(&read(&format!("/sys/fs/cgroup{group}/cpu.max"))?))
            }
            _ if controllers.split(',').any(|name| name == "cpu") => along(path, |group| {
                let file = |name| read(&format!("/sys/fs/cgroup/cpu{group}/cpu.cfs_{name}_us"));
                ratio(file("quota")?.trim(), file("period")?.trim())
            }),
            _ => None,
        };
        least = [least, found].into_iter().flatten().reduce(f64::min);
    }
    least
}

/// The least of a group's quota and those of the groups around it. In a container the group itself may be the top.
fn along(path: &str, quota: impl Fn(&str) -> Option<f64>) -> Option<f64> {
    let mut group = path.trim_end_matches('/');
    let mut least = quota(group);
    while let Some((parent, _)) = group.rsplit_once('/') {
        group = parent;
        least = [least, quota(group)].into_iter().flatten().reduce(f64::min);
    }
    least
}

/// `cpu.max`: quota and period, `max` without one.
fn of_version_2(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    ratio(quota, period)
}

/// In version 1, -1 is none.
fn ratio(quota: &str, period: &str) -> Option<f64> {
    let [quota, period] = [quota, period].map(|text| text.parse::<u32>().ok().map(f64::from));
    Some(quota? / period.filter(|&period| period > 0.0)?)
}

#[cfg(test)]
mod tests {
    use super::least;

    fn from(groups: &str, files: &[(&str, &str)]) -> Option<f64> {
        least(groups, |path| {
            let file = files.iter().find(|(name, _)| *name == path);
            file.map(|(_, text)| format!("{text}\n"))
        })
    }

    #[test]
    fn version_2_says_it_in_one_file_of_each_group() {
        let groups = "0::/pod/container\n";
        let own = "/sys/fs/cgroup/pod/container/cpu.max";
        let pods = "/sys/fs/cgroup/pod/cpu.max";

        assert_eq!(from(groups, &[(own, "50000 100000")]), Some(0.5));
        assert_eq!(from(groups, &[(own, "max 100000")]), None);
        assert_eq!(from(groups, &[(own, "max 100000"), (pods, "150000 100000")]), Some(1.5));
        assert_eq!(from("0::/\n", &[("/sys/fs/cgroup/cpu.max", "20000 100000")]), Some(0.2));
    }

    #[test]
    fn version_1_says_it_in_two_and_not_where_the_path_says() {
        let groups = "9:name=systemd:/\n4:cpu,cpuacct:/docker/7f\n0::/\n";
        let file = |place: &str, name: &str| format!("/sys/fs/cgroup/cpu{place}/cpu.cfs_{name}_us");
        let of = |place: &str, quota: &str| {
            let [quotas, periods] = ["quota", "period"].map(|name| file(place, name));
            from(groups, &[(&quotas, quota), (&periods, "100000")])
        };

        assert_eq!(of("/docker/7f", "75000"), Some(0.75));
        assert_eq!(of("", "75000"), Some(0.75), "the mount of a container");
        assert_eq!(of("/docker", "-1"), None);
        assert_eq!(of("/elsewhere", "75000"), None);
    }

    #[test]
    fn what_makes_no_sense_is_no_quota() {
        assert_eq!(from("", &[]), None);
        assert_eq!(from("garbage\n0::\n", &[("/sys/fs/cgroup/cpu.max", "")]), None);
        assert_eq!(from("0::/\n", &[("/sys/fs/cgroup/cpu.max", "1000 0")]), None);
    }
}
