//! The machine: its processor, the device that makes virtual machines, its kernel, its cgroups, krun's programs.

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use kvm_ioctls::Kvm;

use super::{Finding, Status, kkm};
use crate::files::Root;

/// The only version of the KVM interface there has been since 2007.
const KVM_API_VERSION: i32 = 12;
/// The device's number, which is the same everywhere.
const KVM_DEVICE: (u32, u32) = (10, 232);
/// The oldest kernel with all that krun calls.
const OLDEST_KERNEL: (u32, u32) = (5, 10);
/// Where krun is.
pub(crate) const KRUN: &str = "/opt/kontain/bin/krun";

pub(super) fn check(root: &Root, krun: &Path) -> Vec<Finding> {
    let look = |path: &str| root.look(Path::new(path)).unwrap_or_default();
    let module = ["kvm_intel", "kvm_amd", "kvm_pvm"]
        .into_iter()
        .find(|module| root.exists(&Path::new("/sys/module").join(module)));
    let mut all = vec![processor(&look("/proc/cpuinfo"), module), kvm(root, module)];
    all.extend(kkm::check(root));
    all.push(kernel(&look("/proc/sys/kernel/osrelease")));
    all.push(cgroups(root));
    all.push(programs(root, krun));
    all
}

fn processor(cpuinfo: &str, module: Option<&str>) -> Finding {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|one| one == flag);
    match (has("vmx"), has("svm"), module) {
        (true, _, _) => Finding::ok("cpu", "the processor has VMX"),
        (_, true, _) => Finding::ok("cpu", "the processor has SVM"),
        (_, _, Some("kvm_pvm")) => {
            let why =
                "neither VMX nor SVM: kvm_pvm does without, which is slower and a weaker boundary";
            Finding::new(
                "cpu",
                Status::Warn,
                why,
                "use a machine with nested virtualisation, or metal",
            )
        }
        _ => {
            let fix = "switch virtualisation on in the firmware; on EC2 launch an 8i instance with \
                       CpuOptions.NestedVirtualization=enabled, or a metal one";
            Finding::new("cpu", Status::Fail, "the processor shows neither VMX nor SVM", fix)
        }
    }
}

fn kvm(root: &Root, module: Option<&str>) -> Finding {
    let path = root.shown(Path::new("/dev/kvm"));
    let module = module.unwrap_or("an unknown module");
    match open_kvm(root) {
        Ok(kvm) if kvm.get_api_version() == KVM_API_VERSION => {
            Finding::ok("kvm", format!("/dev/kvm opens; it is {module}'s"))
        }
        Ok(_) => {
            let why = format!("{} does not speak KVM's version {KVM_API_VERSION}", path.display());
            Finding::new("kvm", Status::Fail, why, "remove what is there, and load the module kvm")
        }
        Err(error) => {
            let why = format!("{}: {error}", path.display());
            let fix = "modprobe kvm_intel or kvm_amd; run kontain check as root";
            Finding::new("kvm", Status::Fail, why, fix)
        }
    }
}

/// Opens the root's own device and no other: what another one does when it is opened or called, nobody knows.
fn open_kvm(root: &Root) -> io::Result<Kvm> {
    let device = root.device(Path::new("/dev/kvm"), KVM_DEVICE)?;
    let path = CString::new(format!("/proc/self/fd/{}", device.as_raw_fd()))?;
    Ok(Kvm::new_with_path(path)?)
}

fn kernel(release: &str) -> Finding {
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= OLDEST_KERNEL {
        return Finding::ok("kernel", format!("Linux {release}"));
    }
    let why = format!("Linux {release} is older than {}.{}", OLDEST_KERNEL.0, OLDEST_KERNEL.1);
    Finding::new("kernel", Status::Fail, why, "boot a newer kernel")
}

fn cgroups(root: &Root) -> Finding {
    let Some(all) = root.look(Path::new("/sys/fs/cgroup/cgroup.controllers")) else {
        if root.exists(Path::new("/sys/fs/cgroup/memory")) {
            return Finding::ok("cgroups", "version 1");
        }
        let fix = "mount cgroups, as systemd does";
        return Finding::new("cgroups", Status::Fail, "no memory controller is mounted", fix);
    };
    let has = |name: &&str| all.split_whitespace().any(|one| one == *name);
    let missing: Vec<_> =
        ["cpu", "cpuset", "memory", "pids"].into_iter().filter(|name| !has(name)).collect();
    if missing.is_empty() {
        return Finding::ok("cgroups", "version 2, with all controllers that limits need");
    }
    let why = format!("version 2 without {}: such limits are refused", missing.join(", "));
    Finding::new("cgroups", Status::Warn, why, "take cgroup_disable= off the kernel's command line")
}

fn programs(root: &Root, krun: &Path) -> Finding {
    // krun looks for it beside itself.
    let km = krun.with_file_name("km");
    let missing = [krun, &km].into_iter().find(|path| !root.is_program(path));
    let Some(path) = missing else {
        let why = format!("{} and {} are there", krun.display(), km.display());
        return Finding::ok("programs", why);
    };
    let why = format!("there is no program {}", path.display());
    Finding::new("programs", Status::Fail, why, "make install, or install the package again")
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::{kernel, processor};

    #[test]
    fn kernels_are_told_by_their_numbers() {
        let status = |release| kernel(release).status;

        assert_eq!(status("5.10.0-8-amd64\n"), Status::Ok);
        assert_eq!(status("6.1.0"), Status::Ok);
        assert_eq!(
            (status("5.9.16"), status("4.19.0"), status("")),
            (Status::Fail, Status::Fail, Status::Fail)
        );
    }

    #[test]
    fn processors_are_told_by_their_flags() {
        assert_eq!(processor("flags\t\t: fpu vmx sse\n", None).status, Status::Ok);
        assert_eq!(processor("flags\t\t: fpu svm_lock\n", None).status, Status::Fail);
        assert_eq!(processor("flags\t\t: fpu\n", Some("kvm_pvm")).status, Status::Warn);
    }
}
