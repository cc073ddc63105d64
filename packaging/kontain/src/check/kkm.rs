//! `/dev/kkm`, where there is one: Kontain's kernel module, the weaker boundary.

use std::path::Path;

use super::{Finding, Status};
use crate::files::Root;

const DEVICE: &str = "/dev/kkm";
/// Where the kernel says what it does about Meltdown.
const MELTDOWN: &str = "/sys/devices/system/cpu/vulnerabilities/meltdown";
/// What the kernel lists its miscellaneous devices in, with their numbers: the module's is another each time.
const MISC: &str = "/proc/misc";
const MISC_MAJOR: u32 = 10;
/// Everybody may read or write.
const OPEN_TO_ALL: u32 = 0o006;

/// What is to be said of it; nothing where it is not.
pub(super) fn check(root: &Root) -> Vec<Finding> {
    if !root.exists(Path::new(DEVICE)) {
        return Vec::new();
    }
    let look = |path: &str| root.look(Path::new(path)).unwrap_or_default();
    let mut all = vec![device(root, &look(MISC))];
    all.extend(page_tables(&look(MELTDOWN)));
    all
}

fn device(root: &Root, misc: &str) -> Finding {
    let path = root.shown(Path::new(DEVICE));
    let fail = |why: String, fix: &str| Finding::new("kkm", Status::Fail, why, fix);
    let Some(minor) = minor(misc) else {
        let why = format!("{} is there, and the module kkm is not loaded", path.display());
        return fail(why, "load the module kkm, or remove the file");
    };
    let device = match root.device(Path::new(DEVICE), (MISC_MAJOR, minor)) {
        Ok(device) => device,
        Err(error) => {
            return fail(format!("{}: {error}", path.display()), "load the module kkm again");
        }
    };
    let mode = rustix::fs::fstat(&device).map_or(OPEN_TO_ALL, |status| status.st_mode);
    if mode & OPEN_TO_ALL != 0 {
        let why = format!(
            "{} has mode {:04o}: everybody may run code beside the kernel by it",
            path.display(),
            mode & 0o7777
        );
        return fail(why, "chmod 0660 /dev/kkm, and install kontain's udev rules");
    }
    let why = "/dev/kkm is there: krun uses it where /dev/kvm is not usable. It is the weaker boundary: no \
               virtual machine of the processor's, but a kernel module that nobody has maintained since 2024";
    Finding::new("kkm", Status::Warn, why, "use /dev/kvm where you can; else remove the module kkm")
}

/// The device's minor number.
fn minor(misc: &str) -> Option<u32> {
    let mut lines = misc.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.find(|words| words.get(1) == Some(&"kkm"))?.first()?.parse().ok()
}

/// While a guest runs, the module keeps the kernel mapped: where a processor needs the page tables apart, that does
/// not help.
fn page_tables(meltdown: &str) -> Option<Finding> {
    let meltdown = meltdown.trim();
    if meltdown.is_empty() || meltdown == "Not affected" {
        return None;
    }
    let why = format!(
        "this processor is open to Meltdown (\"{meltdown}\"), and the module kkm keeps the kernel mapped while a \
         guest runs: pti does not help"
    );
    Some(Finding::new("kkm-pti", Status::Fail, why, "remove the module kkm from this machine"))
}

#[cfg(test)]
mod tests {
    use super::{minor, page_tables};

    #[test]
    fn the_minor_number_is_the_one_in_the_kernels_list() {
        assert_eq!(minor("232 kvm\n 58 kkm\n"), Some(58));
        assert_eq!(minor("232 kvm\n"), None);
    }

    #[test]
    fn only_processors_that_meltdown_concerns_are_told_of() {
        assert!(page_tables("Not affected\n").is_none() && page_tables("").is_none());
        assert!(page_tables("Mitigation: PTI\n").is_some());
        assert!(page_tables("Vulnerable\n").is_some());
    }
}
