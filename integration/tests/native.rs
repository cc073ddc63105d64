//! What a native container must not be able to do, and what its programs may do, compared with runc;
//! what programs may do in virtual machines, too.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use integration::bundle::Bundle;
use integration::guests;
use integration::outcome;
use integration::runtime::Runtime;
use integration::sleeper::Sleeper;
use rustix::fs::{StatVfsMountFlags, statvfs};
use serde_json::{Value, json};

/// Calls by number, in the form of the processor's own and of its 32-bit ancestor.
const CALLS: &str = r#"
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    const long calls[] = {SYS_getppid, SYS_mkdir, 461, 462, 9999};
    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
        errno = 0;
        syscall(calls[i], 0, -1, 0, 0);
        printf("%ld: %d\n", calls[i], errno);
    }
    fflush(stdout);
    if (fork() == 0) {
        long answer = 20;
        __asm__ volatile("int $0x80" : "+a"(answer) : : "memory", "r8", "r9", "r10", "r11");
        _exit(answer > 0 ? 0 : (int)-answer);
    }
    int status;
    wait(&status);
    printf("int 0x80: %d\n", status);
    return 0;
}
"#;

fn native() -> Runtime {
    Runtime::krun_natively().expect("krun is built")
}

fn vm() -> Runtime {
    Runtime::krun().expect("krun is built")
}

fn runc() -> Runtime {
    Runtime::runc().expect("runc is installed")
}

/// Profiles that differ in what they say about architectures and calls that they do not name.
fn profiles() -> [Value; 3] {
    let allowed = json!({"names": [
        "read", "write", "writev", "close", "fstat", "newfstatat", "mmap", "mprotect", "munmap",
        "brk", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "ioctl", "access", "execve",
        "exit", "exit_group", "arch_prctl", "fcntl", "openat", "open", "stat", "lstat", "getcwd",
        "dup2", "fork", "vfork", "clone", "wait4", "getpid", "getppid", "getuid", "geteuid",
        "getgid", "getegid", "uname", "set_tid_address", "set_robust_list", "rseq", "prlimit64",
        "readlink", "readlinkat", "getrandom", "prctl", "capget", "capset", "futex", "lseek",
        "poll", "sendfile", "faccessat2", "getdents64", "fchdir", "chdir", "setresuid", "setresgid",
        "setgroups", "setuid", "setgid", "getrlimit", "nanosleep", "clock_nanosleep", "sigaltstack",
        "gettid", "tgkill", "madvise", "sched_yield", "epoll_create1", "epoll_ctl", "epoll_pwait",
        "eventfd2", "pipe2", "sched_getaffinity", "clone3", "close_range", "fstatfs", "statfs",
        "dup3", "openat2", "fchown", "fchownat", "chown", "fchmod", "getgroups", "pread64",
        "keyctl", "umask", "memfd_create", "setpgid", "pidfd_open", "pidfd_send_signal", "waitid",
        "socketpair", "sendmsg", "recvmsg", "ppoll", "kill"],
        "action": "SCMP_ACT_ALLOW"});
    let refused = json!({"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28});
    let both = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
    [
        json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": both,
            "syscalls": [allowed, refused]}),
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13, "syscalls": [allowed]}),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": both, "flags": [],
            "syscalls": [refused]}),
    ]
}

/// A sleeping container by each of these, with a profile and rights that the profile does not need.
fn sleepers<const N: usize>(
    runtimes: [Runtime; N],
    profile: &Value,
    no_new_privileges: bool,
    uid: u32,
) -> [Sleeper; N] {
    runtimes.map(|runtime| {
        let sleeper = Sleeper::changed(runtime, |spec| {
            spec["linux"]["seccomp"] = profile.clone();
            spec["process"]["noNewPrivileges"] = json!(no_new_privileges);
            spec["process"]["user"] = json!({"uid": uid, "gid": uid});
        });
        guests::c_text(CALLS, &sleeper.bundle.in_rootfs("bin/calls")).expect("gcc compiles it");
        sleeper
    })
}

#[test]
fn further_programs_have_the_profile_and_the_rights_that_runc_gives_them() {
    let status = ["web", "busybox", "grep", "-E", "^(Cap|NoNewPrivs|Seccomp)", "/proc/self/status"];
    let calls = ["web", "calls"];
    let with_rights = [&["--cap", "CAP_CHOWN"], &status[..]].concat();
    for profile in profiles() {
        for (no_new_privileges, uid) in [(true, 0), (false, 0), (false, 7)] {
            let all = sleepers([runc(), native(), vm()], &profile, no_new_privileges, uid);
            for args in [&status[..], &calls, &with_rights] {
                let [expected, native, vm] = all.each_ref().map(|one| one.exec(args, None));
                let context = format!("{args:?} {no_new_privileges} {uid} {profile}");
                // There are no 32-bit calls in a virtual machine.
                let got = if args == calls { vec![native] } else { vec![native, vm] };
                for got in got {
                    let difference = outcome::difference(&expected, &got);
                    assert!(difference.is_none(), "{context}: {}", difference.unwrap_or_default());
                }
                assert!(expected.is_success(), "{context}: {expected:?}");
            }
            // The first program: it sleeps, and can be looked at from outside.
            let first = all.each_ref().map(|sleeper| {
                let pid = sleeper.runtime.state("web").expect("state")["pid"].to_string();
                let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
                let lines = text.lines().filter(|line| {
                    ["Cap", "NoNewPrivs", "Seccomp"].iter().any(|name| line.starts_with(name))
                });
                lines.map(str::to_owned).collect::<Vec<_>>()
            });
            assert_eq!(first[1..], [first[0].clone(), first[0].clone()]);
            all.into_iter().for_each(Sleeper::finish);
        }
    }
}

/// A hook at `startContainer` is a program of the image: it must not have what krun was lent, nor make calls that
/// the program may not.
#[test]
fn a_hook_in_the_container_has_the_rights_of_the_program() {
    let status = "busybox grep -E '^(Cap|NoNewPrivs|Seccomp)' /proc/self/status";
    // Nor must process 1 have it, over which a hook may have rights.
    let of_first = "busybox grep -E '^(Cap(Eff|Prm|Bnd)|Seccomp:)' /proc/1/status";
    let script = format!("export PATH=/bin; {{ {status}; {of_first}; }} > /tmp/hook");
    let printed = |runtime: &Runtime, profile: &Value, no_new_privileges: bool| {
        let program = format!("cat /tmp/hook; {status}");
        let mut bundle = Bundle::with_args(&["/bin/sh", "-c", &program]).expect("a bundle");
        bundle
            .change(|spec| {
                spec["linux"]["seccomp"] = profile.clone();
                spec["process"]["noNewPrivileges"] = json!(no_new_privileges);
                spec["hooks"] = json!({"startContainer": [
                    {"path": "/bin/sh", "args": ["sh", "-c", script]}
                ]});
            })
            .expect("it can be changed");
        let path = bundle.path().to_str().expect("the path is text").to_owned();
        runtime.must(["run", "--bundle", &path, "web"]).expect("it runs").stdout()
    };
    for profile in profiles() {
        for no_new_privileges in [true, false] {
            let expected = printed(&runc(), &profile, no_new_privileges);
            assert_eq!(expected.lines().count(), 20, "{expected}");
            for krun in [native(), vm()] {
                assert_eq!(printed(&krun, &profile, no_new_privileges), expected, "{profile}");
            }
        }
    }
}

#[test]
fn a_profile_says_the_same_of_calls_it_does_not_name_in_a_virtual_machine() {
    for profile in profiles() {
        let runtimes = [runc(), vm()];
        let both = sleepers(runtimes, &profile, true, 0);
        let [expected, got] = both.each_ref().map(|sleeper| {
            let said = sleeper.exec(&["web", "calls"], None).stdout();
            // There are no 32-bit calls in a virtual machine.
            said.lines()
                .filter(|line| !line.contains("0x80"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        assert_eq!(expected, got, "{profile}");
        assert_eq!(got.len(), 5, "{got:?}");
        both.into_iter().for_each(Sleeper::finish);
    }
}

#[test]
fn without_capabilities_in_its_configuration_a_program_has_none() {
    let grep = ["/bin/busybox", "grep", "^Cap", "/proc/self/status"];
    for section in [None, Some(json!({})), Some(json!({"bounding": ["CAP_KILL", "CAP_CHOWN"]}))] {
        for uid in [0, 7] {
            let run = |runtime: &Runtime| {
                let mut bundle = Bundle::with_args(&grep).unwrap();
                bundle
                    .change(|spec| {
                        spec["process"]["capabilities"] = json!(section);
                        spec["process"]["user"] = json!({"uid": uid, "gid": uid});
                    })
                    .unwrap();
                runtime.must(["run", "--bundle", bundle.path().to_str().unwrap(), "web"]).unwrap()
            };

            let expected = run(&runc()).stdout();
            assert_eq!(run(&native()).stdout(), expected, "native, {section:?}, {uid}");
            assert_eq!(run(&Runtime::krun().unwrap()).stdout(), expected, "vm, {section:?}, {uid}");
        }
    }
}

/// Whether the binary of this process could not be written through `/proc`, whenever.
fn binary_is_protected(pid: &Value) -> bool {
    let found = statvfs(format!("/proc/{pid}/exe")).expect("it can be looked at");
    found.f_flag.contains(StatVfsMountFlags::RDONLY)
}

#[test]
fn kruns_binary_cannot_be_written_from_a_native_container() {
    let runtime = native();
    let bundle = Bundle::with_args(&["/bin/sleep", "1000"]).unwrap();
    runtime.create(bundle.path(), "web").unwrap();

    // What waits for `start` in the container is krun. It does not wait in a copy that anyone could write.
    let waiting = binary_is_protected(&runtime.state("web").unwrap()["pid"]);
    runtime.must(["start", "web"]).unwrap();
    // A further program that is krun itself, by the way that CVE-2019-5736 took.
    symlink("/proc/self/exe", bundle.in_rootfs("bin/self")).unwrap();
    let script = "exec 3</proc/self/exe; self --version; busybox readlink /proc/self/fd/3";
    let itself = runtime.call(["exec", "web", "/bin/self", "--version"]).unwrap();
    let shell = runtime.call(["exec", "web", "sh", "-c", script]).unwrap();
    runtime.must(["delete", "--force", "web"]).unwrap();

    assert!(waiting);
    assert!(itself.stdout().starts_with("krun version"), "{itself:?}");
    assert!(!shell.stdout().contains("krun"), "{shell:?}");
    bundle.footprint.ensure_nothing_is_left().unwrap();
}

/// The look that the test above takes finds a difference: in a container of virtual machines, where no
/// program is executed by the host's kernel, what waits is krun's own file.
#[test]
fn a_binary_that_is_not_protected_is_found() {
    let runtime = Runtime::krun().unwrap();
    let bundle = Bundle::with_args(&["/bin/true"]).unwrap();
    runtime.create(bundle.path(), "web").unwrap();
    let waiting = binary_is_protected(&runtime.state("web").unwrap()["pid"]);
    runtime.must(["delete", "--force", "web"]).unwrap();
    assert!(!waiting);
    bundle.footprint.ensure_nothing_is_left().unwrap();
}

/// A bundle with `/pause` in its image, and krun that runs it natively.
fn pause(dir: &Path) -> (Bundle, Runtime, String) {
    let bundle = Bundle::with_args(&["/pause"]).expect("a bundle");
    let text = "#include <stdio.h>\nint main(void) { puts(TEXT); return 0; }\n";
    let program = |word: &str| text.replace("TEXT", &format!("\"{word}\""));
    guests::c_text(&program("the host's program"), &bundle.in_rootfs("pause")).expect("gcc");
    guests::c_text(&program("somebody's program"), &dir.join("pause")).expect("gcc");
    let mut sum = Command::new("sha256sum");
    let sum = outcome::run(sum.arg(bundle.in_rootfs("pause")), None).expect("sha256sum").stdout();
    let hash = sum.split(' ').next().unwrap_or_default().to_owned();
    let rules = format!("preset = \"kubernetes\"\npause_sha256 = [{hash:?}]\n");
    let runtime = Runtime::krun_with_policy(&rules).expect("krun is built");
    (bundle, runtime, hash)
}

#[test]
fn a_program_known_by_its_hash_is_the_one_that_runs() {
    let volume = tempfile::tempdir().unwrap();
    let (mut bundle, runtime, _) = pause(volume.path());
    let path = bundle.path().to_str().unwrap().to_owned();
    let run = || runtime.call(["--debug", "run", "--bundle", &path, "web"]).unwrap();

    let honest = run();
    assert_eq!(honest.stdout(), "the host's program\n", "{honest:?}");
    assert!(honest.stderr().contains("mode native by rule pod-sandbox"), "{honest:?}");

    // A volume on the program, by its name, by another one and through a link of the image's.
    symlink("/", bundle.in_rootfs("link")).unwrap();
    let own_mounts = bundle.path().join("config.json");
    let own_mounts: Value = serde_json::from_slice(&fs::read(own_mounts).unwrap()).unwrap();
    for destination in ["/pause", "/../pause", "/link/pause", "//pause", "/bin/../pause"] {
        bundle
            .change(|spec| {
                spec["mounts"] = own_mounts["mounts"].clone();
                spec["mounts"].as_array_mut().unwrap().push(json!({
                    "destination": destination, "type": "bind",
                    "source": volume.path().join("pause"), "options": ["bind"],
                }));
            })
            .unwrap();

        let attack = run();

        assert!(!attack.is_success(), "{destination}: {attack:?}");
        assert_eq!(attack.stdout(), "", "{destination}: {attack:?}");
        let expected = "program_sha256 of the policy: /pause: it is in a mount";
        assert!(attack.stderr().contains(expected), "{destination}: {attack:?}");
    }
    bundle.footprint.ensure_nothing_is_left().unwrap();
}

#[test]
fn a_program_that_a_link_leads_to_is_no_programs_hash() {
    let elsewhere = tempfile::tempdir().unwrap();
    let (bundle, runtime, _) = pause(elsewhere.path());
    let in_rootfs = bundle.in_rootfs("pause");
    fs::rename(&in_rootfs, bundle.in_rootfs("real")).unwrap();
    symlink("real", &in_rootfs).unwrap();
    let path = bundle.path().to_str().unwrap().to_owned();

    let ran = runtime.call(["--debug", "run", "--bundle", &path, "web"]).unwrap();

    assert!(ran.stderr().contains("mode vm by rule default"), "{ran:?}");
    assert_eq!(ran.stdout(), "the host's program\n", "{ran:?}");
    bundle.footprint.ensure_nothing_is_left().unwrap();
}
