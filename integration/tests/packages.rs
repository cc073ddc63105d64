//! What users install: the deb, the rpm and the archive of `packaging/package`, each put into a clean system,
//! upgraded and taken out again.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use integration::outcome::{self, Outcome};
use integration::{built, software};
use tempfile::TempDir;

/// Mounts a Debian system, whose changes stay in `$2`, in a mount namespace of its own, and runs `$4` in it.
const ENTER: &str = r#"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
mount -t proc proc "$2/root/proc"
mount --rbind /dev "$2/root/dev"
mount --rbind /sys "$2/root/sys"
mount -t tmpfs tmpfs "$2/root/run"
mkdir -p "$2/root/run/packages"
mkdir "$2/root/run/host"
mount --bind "$3" "$2/root/run/packages"
cd "$2/root"
pivot_root . run/host
umount --lazy run/host
exec sh -euc "$4"
"#;

/// The same system, to be changed from outside by the host's tools in `$4`.
const BESIDE: &str = r#"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
cd "$2/root"
PACKAGES=$3 exec sh -euc "$4"
"#;

/// Where package managers keep their books, and what is here from the start.
const BOOKS: [&str; 5] = ["var", "run", "tmp", "etc/ld.so.cache", "opt/another"];

/// How docker is told to wait for the check at boot.
const WAITS: &str = "l etc/systemd/system/docker.service.requires/kontain-node-check.service";

/// Runs a container by the krun that is installed.
const RUN_A_CONTAINER: &str = r#"
mkdir -p /tmp/bundle/rootfs/bin
cp /bin/busybox /tmp/bundle/rootfs/bin/uname
cd /tmp/bundle
/opt/kontain/bin/krun spec
sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"\/bin\/uname", "-r"/' config.json
/opt/kontain/bin/krun run packaged
rm -r /tmp/bundle
"#;

/// A system to install in, made of the image that suites run in.
struct System {
    image: PathBuf,
    dir: TempDir,
    packages: PathBuf,
}

impl System {
    fn new(packages: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("krun-packages-")
            .tempdir_in(built::target_dir()?.join("software"))?;
        // dpkg removes an /opt that nobody else has anything in.
        for name in ["upper/opt/another", "work", "root"] {
            fs::create_dir_all(dir.path().join(name))?;
        }
        Ok(Self { image: software::image()?, dir, packages: packages.to_owned() })
    }

    /// What a script prints that runs in the system, as root, with the packages in `/run/packages`.
    fn run(&self, script: &str) -> Result<String> {
        said(&self.call(ENTER, script)?)
    }

    /// What a script prints that runs in the system's root directory, with the packages in `$PACKAGES`.
    fn change(&self, script: &str) -> Result<String> {
        said(&self.call(BESIDE, script)?)
    }

    fn call(&self, enter: &str, script: &str) -> Result<Outcome> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
        command.args(["sh", "-euc", enter, "sh"]);
        command.args([&self.image, self.dir.path(), &self.packages]).arg(script);
        outcome::run(&mut command, None)
    }

    /// What is not as in the image, but for package managers' own: changed, new, or gone.
    fn changes(&self) -> Result<BTreeSet<String>> {
        let mut find = Command::new("find");
        find.arg(self.dir.path().join("upper")).args(["-mindepth", "1", "-printf", "%y %P\\n"]);
        let all = said(&outcome::run(&mut find, None)?)?;
        let is_new = |line: &&str| {
            let (kind, path) = line.split_once(' ').unwrap_or_default();
            let is_book = BOOKS.iter().any(|book| Path::new(path).starts_with(book));
            let is_old = kind == "d" && self.image.join(path).is_dir();
            !is_book && !is_old
        };
        Ok(all.lines().filter(is_new).map(str::to_owned).collect())
    }
}

fn said(outcome: &Outcome) -> Result<String> {
    ensure!(outcome.is_success(), "{outcome:?}");
    Ok(outcome.stdout())
}

/// Packs the built binaries.
fn packages(version: &str, kinds: &[&str], into: &Path) -> Result<()> {
    built::krun()?;
    built::km()?;
    let mut package = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/package"));
    package.arg("--output").arg(into).args(kinds);
    package
        .env("KRUN_VERSION", version)
        .env("KRUN_COMPRESSION", "0")
        .env("CARGO_TARGET_DIR", built::target_dir()?);
    said(&outcome::run(&mut package, None)?)?;
    Ok(())
}

#[test]
fn the_deb_is_installed_upgraded_and_removed_without_a_trace() -> Result<()> {
    let made = TempDir::new()?;
    packages("0.1.0", &["deb"], made.path())?;
    packages("0.2.0", &["deb"], made.path())?;
    let system = System::new(made.path())?;

    system.run("dpkg --install /run/packages/kontain-krun_0.1.0_amd64.deb")?;
    assert!(system.changes()?.contains("f opt/kontain/bin/km"), "the look sees what is installed");
    assert_eq!(system.run("dpkg --verify kontain-krun")?, "");
    assert!(
        system
            .run("test -f /usr/share/man/man1/kontain-krun.1; test -f /usr/share/man/man1/kontain-check.1; /opt/kontain/bin/krun --version")?
            .contains("krun")
    );
    let release = system.run(RUN_A_CONTAINER)?;
    assert!(release.trim_end().ends_with(".kontain.KVM"), "{release}");

    // The units that it is to come before may be not there; what systemd finds wrong otherwise is told.
    let unit = "/usr/lib/systemd/system/kontain-node-check.service";
    assert_eq!(system.run(&format!("systemd-analyze verify {unit} 2>&1"))?, "");
    system.run("systemctl enable kontain-node-check")?;
    assert!(system.changes()?.contains(WAITS), "{:?}", system.changes()?);
    let made = system.run("systemd-tmpfiles --create kontain.conf; stat -c %a /run/krun")?;
    assert_eq!(made, "700\n");

    let policy = "/etc/kontain/policy.d/10-own.toml";
    system.run(&format!("echo 'preset = \"default\"' >{policy}"))?;
    system.run("dpkg --install /run/packages/kontain-krun_0.2.0_amd64.deb")?;
    let version = system.run("dpkg-query --show --showformat='${Version}' kontain-krun")?;
    assert_eq!(version, "0.2.0");
    assert_eq!(system.run(&format!("cat {policy}"))?, "preset = \"default\"\n");

    system.run("kontain install docker --default")?;
    let refused = system.call(ENTER, "dpkg --remove kontain-krun")?;
    assert!(refused.stderr().contains("run `kontain uninstall docker` first"), "{refused:?}");
    system.run(
        "/opt/kontain/bin/krun --version; kontain uninstall docker; dpkg --remove kontain-krun",
    )?;
    assert_eq!(
        system.run(&format!("cat {policy}"))?,
        "preset = \"default\"\n",
        "an administrator's own"
    );
    system.run(&format!("rm {policy}; rmdir /etc/kontain/policy.d /etc/kontain"))?;
    assert_eq!(system.changes()?, BTreeSet::new());
    Ok(())
}

#[test]
fn the_rpm_is_installed_upgraded_and_removed_without_a_trace() -> Result<()> {
    let made = TempDir::new()?;
    packages("0.1.0", &["rpm"], made.path())?;
    packages("0.2.0", &["rpm"], made.path())?;
    let system = System::new(made.path())?;
    let rpm =
        |args: &str| system.change(&format!("rpm --root \"$PWD\" --dbpath /var/lib/rpm {args}"));

    // This system's shell is no rpm's.
    rpm("--install --nodeps \"$PACKAGES/kontain-krun-0.1.0-1.x86_64.rpm\"")?;
    assert_eq!(rpm("--verify --nodeps kontain-krun")?, "");
    let release = system.run(RUN_A_CONTAINER)?;
    assert!(release.trim_end().ends_with(".kontain.KVM"), "{release}");

    rpm("--upgrade --nodeps \"$PACKAGES/kontain-krun-0.2.0-1.x86_64.rpm\"")?;
    assert_eq!(rpm("--query kontain-krun")?, "kontain-krun-0.2.0-1.x86_64\n");
    system.run("systemctl enable kontain-node-check")?;
    assert!(system.changes()?.contains(WAITS), "{:?}", system.changes()?);
    // `rpm` runs what a package brings in the system itself.
    system.run("kontain install docker")?;
    let refused = rpm("--erase kontain-krun").err().context("docker uses it")?;
    assert!(refused.to_string().contains("run `kontain uninstall docker` first"), "{refused:?}");
    system.run("kontain uninstall docker")?;
    rpm("--erase kontain-krun")?;
    assert_eq!(system.changes()?, BTreeSet::new());
    Ok(())
}

#[test]
fn all_are_made_alike_twice_and_the_archive_is_whole() -> Result<()> {
    let (first, second) = (TempDir::new()?, TempDir::new()?);
    packages("0.1.0", &[], first.path())?;
    packages("0.1.0", &[], second.path())?;

    let sums = fs::read_to_string(first.path().join("SHA256SUMS"))?;
    assert_eq!(sums.lines().count(), 3, "{sums}");
    assert_eq!(sums, fs::read_to_string(second.path().join("SHA256SUMS"))?);
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--quiet", "SHA256SUMS"]).current_dir(first.path());
    said(&outcome::run(&mut check, None)?)?;

    let system = System::new(first.path())?;
    system
        .run("tar --extract --directory / --file /run/packages/kontain-krun-0.1.0-x86_64.tar.xz")?;
    let release = system.run(RUN_A_CONTAINER)?;
    assert!(release.trim_end().ends_with(".kontain.KVM"), "{release}");
    Ok(())
}

#[test]
fn what_cannot_be_packed_is_refused_by_name() -> Result<()> {
    let made = TempDir::new()?;
    for (version, kind, words) in
        [("0.1", "zip", "zip: not one of"), ("1.0; rm", "tar", "KRUN_VERSION: \"1.0; rm\"")]
    {
        let refused = packages(version, &[kind], made.path()).err().context("it is refused")?;
        assert!(refused.to_string().contains(words), "{refused:?}");
        assert_eq!(fs::read_dir(made.path())?.count(), 0, "nothing is left half made");
    }
    Ok(())
}
