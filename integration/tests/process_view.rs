//! What the host sees of a guest, without any help of the monitor's: `ps` and `/proc/<pid>` show
//! the guest's program, arguments and environment, and what it writes over them.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration::native_and_km::Case;
use integration::outcome;

/// A guest that waits for its input to end.
struct Waiting(Child);

impl Waiting {
    /// Starts it, and waits until it has the name `comm` and sleeps.
    fn start(case: &Case, comm: &str) -> Result<Self> {
        let mut command = case.km_command()?;
        let child = spawn(&mut command)?;
        let waiting = Self(child);
        let ready = outcome::eventually(Duration::from_mins(1), || {
            waiting.file("comm").is_ok_and(|name| name.trim_end() == comm)
                && waiting.file("stat").is_ok_and(|stat| stat.contains(") S "))
        });
        ensure!(ready, "the guest is {:?}, not {comm}", waiting.file("comm"));
        Ok(waiting)
    }

    /// A file of its folder in `/proc`, with blanks for NULs.
    fn file(&self, name: &str) -> Result<String> {
        let content = fs::read(format!("/proc/{}/{name}", self.0.id()))?;
        Ok(String::from_utf8(content)?.replace('\0', " "))
    }

    /// Writes a line to it, closes its input and waits for its end.
    fn end(mut self) -> Result<()> {
        let mut stdin = self.0.stdin.take().context("the guest's input")?;
        stdin.write_all(b"\n")?;
        drop(stdin);
        self.0.wait()?;
        Ok(())
    }
}

fn spawn(command: &mut Command) -> Result<Child> {
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?)
}

#[test]
fn the_host_sees_the_guests_command_and_environment() {
    let cat = Case::new(["/bin/cat", "-", "two words"]).env("COLOUR", "blue");

    let cat = Waiting::start(&cat, "cat").unwrap();

    assert_eq!(cat.file("cmdline").unwrap(), "/bin/cat - two words ");
    let environment = cat.file("environ").unwrap();
    assert!(environment.contains("COLOUR=blue "), "{environment}");
    assert!(!environment.contains("KM_LAUNCH"), "{environment}");
    cat.end().unwrap();
}

#[test]
fn the_host_sees_what_a_script_and_what_is_executed_runs() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    fs::write(&script, "#!/bin/sh -e\nread line\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, mode).unwrap();
    let name = script.display();

    let direct = Waiting::start(&Case::new([&script]).arg("argument"), "script").unwrap();
    assert_eq!(direct.file("cmdline").unwrap(), format!("/bin/sh -e {name} argument "));
    direct.end().unwrap();

    let shell = Case::new(["/bin/sh", "-c", "A=1 exec \"$0\" argument"]).arg(&script);
    let executed = Waiting::start(&shell, "script").unwrap();
    assert_eq!(executed.file("cmdline").unwrap(), format!("/bin/sh -e {name} argument "));
    let environment = executed.file("environ").unwrap();
    assert!(environment.contains("A=1 ") && !environment.contains("KM_LAUNCH"), "{environment}");
    executed.end().unwrap();
}

#[test]
fn the_host_sees_the_title_that_a_guest_gives_itself() {
    let rename = "
import ctypes
libc = ctypes.CDLL(None)
libc.prctl(15, b'renamed', 0, 0, 0)
words = open('/proc/self/stat').read().rsplit(')', 1)[1].split()
start = int(words[45])
ctypes.memmove(start, b'a title of its own\\0', 19)
input()
";
    let python = Case::new(["/usr/bin/python3", "-c", rename]);

    let python = Waiting::start(&python, "renamed").unwrap();

    let title = python.file("cmdline").unwrap();
    assert!(title.starts_with("a title of its own "), "{title}");
    python.end().unwrap();
}
