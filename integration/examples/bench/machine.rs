//! What everything was measured on, and with which versions.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use integration::{built, software};

/// How long others are watched.
const WAIT: Duration = Duration::from_secs(2);

/// The modules that make virtual machines, of which one is there.
const BACKENDS: [&str; 3] = ["kvm_pvm", "kvm_intel", "kvm_amd"];

/// Programs of the machine's, with how each says its version.
const OWN: [(&str, &[&str]); 5] = [
    ("runc", &["--version"]),
    ("crun", &["--version"]),
    ("runsc", &["--version"]),
    ("dockerd", &["--version"]),
    ("gcc", &["--version"]),
];

/// Programs of the image's.
const OF_THE_IMAGE: [(&str, &[&str]); 10] = [
    ("/usr/bin/python3", &["--version"]),
    ("/usr/bin/node", &["--version"]),
    ("/usr/bin/java", &["--version"]),
    ("/usr/bin/gcc", &["--version"]),
    ("/usr/bin/sqlite3", &["--version"]),
    ("/usr/bin/redis-server", &["--version"]),
    ("/usr/sbin/nginx", &["-v"]),
    ("/usr/lib/postgresql/15/bin/postgres", &["--version"]),
    ("/bin/busybox", &[]),
    ("/usr/bin/find", &["--version"]),
];

/// Two columns: what, and which.
pub(crate) fn facts(others: f64) -> Result<Vec<(String, String)>> {
    let mut facts = vec![
        ("date".to_owned(), first_line(Command::new("date").args(["-u", "+%F %H:%M UTC"]))),
        ("commit".to_owned(), commit()),
        ("processor".to_owned(), processor()?),
        ("memory".to_owned(), memory()?),
        ("kernel".to_owned(), fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned()),
        ("KVM".to_owned(), backend()),
        (
            "other work".to_owned(),
            format!("{:.0} % of all processors, just before", others * 100.0),
        ),
        ("km".to_owned(), first_line(Command::new(built::km()?).arg("--version"))),
        ("krun".to_owned(), first_line(Command::new(built::krun()?).arg("--version"))),
    ];
    for (name, args) in OWN {
        facts.push((name.to_owned(), first_line(Command::new(name).args(args))));
    }
    let image = software::image()?;
    for (path, args) in OF_THE_IMAGE {
        let version = first_line(in_image(&image).arg(path).args(args));
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
        facts.push((format!("{name} (image)"), version));
    }
    Ok(facts)
}

/// What the image's programs are run by: java looks into `/proc` for where its libraries are.
fn in_image(image: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c"]);
    command.arg("mount -t proc proc \"$0/proc\" && exec chroot \"$0\" \"$@\"").arg(image);
    command
}

/// The commit that is checked out, and whether there is more.
fn commit() -> String {
    let mut git = Command::new("git");
    git.args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"]);
    first_line(&mut git)
}

fn processor() -> Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": ")).map_or("?", |(_, value)| value).to_owned()
    };
    let count = info.lines().filter(|line| line.starts_with("processor")).count();
    Ok(format!(
        "{count} × {} (family {}, model {})",
        field("model name"),
        field("cpu family"),
        field("model\t")
    ))
}

fn memory() -> Result<String> {
    let info = fs::read_to_string("/proc/meminfo")?;
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let kib: u64 = total.trim().trim_end_matches(" kB").parse().unwrap_or_default();
    Ok(format!("{} MiB", kib / 1024))
}

fn backend() -> String {
    let is_loaded = |name: &&&str| Path::new("/sys/module").join(name).is_dir();
    let found: Vec<_> = BACKENDS.iter().filter(is_loaded).copied().collect();
    if found.is_empty() { "of no known kind".to_owned() } else { found.join(", ") }
}

/// The part of all processors' time in which they are not idle, while this process waits.
pub(crate) fn other_work() -> Result<f64> {
    let [total, idle] = times()?;
    thread::sleep(WAIT);
    let [later_total, later_idle] = times()?;
    let part = (later_idle - idle) / (later_total - total);
    Ok((1.0 - part).clamp(0.0, 1.0))
}

/// All time of all processors, and that in which they had nothing to do or waited for a disk.
fn times() -> Result<[f64; 2]> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let times: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    ensure!(times.len() > 7, "/proc/stat: {line}");
    // What guests take is counted twice.
    Ok([times[..8].iter().sum(), times[3] + times[4]])
}

/// What a command prints first, wherever it prints it.
fn first_line(command: &mut Command) -> String {
    let Ok(output) = command.output() else {
        return "not here".to_owned();
    };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}
