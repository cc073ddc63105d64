//! A network namespace for a daemon: its bridges and firewall rules are not the machine's.
//!
//! Nothing names the namespace. It is there as long as the daemon or a container of its is in it, so
//! nothing has to be taken away, however a test ends.

use std::ffi::OsStr;
use std::process::Command;

/// Brings the loopback interface up, then becomes the program.
const WITH_LOOPBACK: &str = "/bin/busybox ip link set lo up && exec \"$@\"";

/// A command that starts this program in a namespace of its own, under the pid that it is given.
pub fn alone(program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", WITH_LOOPBACK, "sh", program]);
    command
}

/// A busybox program of the host's, in the namespace that this process is in.
pub fn beside<S: AsRef<OsStr>>(pid: u32, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg("--net").arg("--target").arg(pid.to_string()).arg("/bin/busybox").args(args);
    command
}
