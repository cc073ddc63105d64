//! What `kontain collect` tells of a node, and what it does not.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::place::Node;

/// It stands everywhere where a secret can.
const SECRET: &str = "hunter2";

fn collect(node: &Node, output: &Path) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontain"));
    Ok(command
        .arg("collect")
        .arg("--root")
        .arg(node.path("/"))
        .arg("--output")
        .arg(output)
        .output()?)
}

/// The archive's files, as tar sees them.
fn unpacked(node: &Node) -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    let archive = directory.path().join("archive.tar.gz");
    let done = collect(node, &archive)?;
    ensure!(done.status.success(), "{done:?}");
    let tar =
        Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(directory.path()).output()?;
    ensure!(tar.status.success() && tar.stderr.is_empty(), "{tar:?}");
    Ok(directory)
}

fn told(directory: &TempDir, file: &str) -> Result<String> {
    Ok(fs::read_to_string(directory.path().join("kontain").join(file))?)
}

/// A node with secrets wherever an administrator, an engine or a container puts them.
fn node_with_secrets() -> Result<Node> {
    let node = Node::new()?;
    let s = SECRET;
    for (path, text) in [
        ("/etc/docker/daemon.json", format!(
            "{{\"proxies\":{{\"http-proxy\":\"http://u:{s}@proxy:3128\"}},\"auths\":{{\"r\":{{\"auth\":\"{s}\"}}}},\
             \"log-opts\":{{\"splunk-token\":\"{s}\",\"path\":\"{s}\",\"x\":[\"{s}\"]}},\"labels\":[\"a={s}\"],\
             \"data-root\":\"/d?token={s}\",\
             \"registry-mirrors\":[\"https://u:{s}@m\"],\"{s}-free\":1,\
             \"runtimes\":{{\"krun\":{{\"path\":\"/opt/kontain/bin/krun\",\"runtimeArgs\":[\"--log={s}\",\"{s}\"]}}}}}}"
        ).replace(&format!("\"{s}-free\":1,"), "\"debug\":true,")),
        ("/etc/containerd/config.toml", format!(
            "version = 2 # {s}\n# {s}\n[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"r\".auth]\n\
             username = \"{s}\"\npassword = \"{s}\"\n[plugins.\"io.containerd.grpc.v1.cri\".registry.headers]\n\
             Authorization = [\"Basic {s}\"]\n"
        )),
        ("/etc/containers/containers.conf", format!("[containers]\nenv = [\"K={s}\"]\n[engine]\nruntime = \"krun\"\n")),
        ("/etc/crio/crio.conf", format!("broken = {s}\n")),
        ("/etc/kontain/policy.d/10.toml", format!(
            "[[rule]]\nid = \"a\"\nmode = \"vm\"\nmatch = {{args = [\"{s}\"], annotations = {{id = \"{s}\"}}}}\n"
        )),
        ("/etc/systemd/system/docker.service.d/proxy.conf", format!(
            "# {s}\n[Service]\nEnvironment=\"HTTPS_PROXY=http://u:{s}@p\" \"TOKEN={s} {s}\"\n\
             ExecStart=/usr/bin/dockerd --label {s} --log-opt=k={s} --default-runtime krun\n"
        )),
        ("/etc/default/docker", format!("export HTTP_PROXY=http://u:{s}@p\n{s}\n")),
        ("/proc/cmdline", format!("quiet pti=on ds=nocloud;p={s} password={s}\n")),
        ("/proc/1/mounts", format!(
            "//s/a /m cifs rw,username=u,password={s} 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"
        )),
        ("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu vmx\n\nprocessor\t: 1\n".to_owned()),
        ("/run/docker/runtime-krun/moby/c1/state.json", format!(
            "{{\"id\":\"c1\",\"bundle\":\"/var/run/docker/b/c1\",\"mode\":\"vm\",\"rule\":\"default\",\
             \"annotations\":{{\"id\":\"{s}\"}},\"poststop\":[{{\"path\":\"/h\",\"args\":[\"{s}\"],\"env\":[\"A={s}\"]}}]}}"
        )),
        ("/run/docker/runtime-krun/moby/c1/bundle.json", format!(
            "{{\"ociVersion\":\"1.0.2\",\"process\":{{\"args\":[\"a\",\"--password\",\"{s}\"],\
             \"env\":[\"PATH=/bin\",\"DB={s}\",\"{s}\"]}},\
             \"mounts\":[{{\"destination\":\"/d\",\"options\":[\"password={s}\",\"ro\"]}}],\
             \"annotations\":{{\"a\":\"{s}\"}}}}"
        )),
        ("/run/docker/b/c1/log.json", format!(
            "{{\"level\":\"error\",\"msg\":\"exec: TOKEN={s} https://u:{s}@h/p?k={s} no such file\"}}\n\
             {{\"level\":\"error\",\"msg\":\"Authorization: Bearer {s}\",\"password\":\"{s}\"}}\n"
        )),
        ("/etc/kontain/policy.d/20.toml", format!("[[rule]]\nid = {s}\n")),
        // Not krun's.
        ("/run/containerd/runc/default/c2/state.json", format!("{{\"id\":\"{s}\"}}")),
        ("/etc/shadow", format!("root:{s}\n")),
    ] {
        node.write(path, text)?;
    }
    Ok(node)
}

#[test]
fn no_secret_is_told_wherever_it_stands() {
    let node = node_with_secrets().unwrap();

    let all = unpacked(&node).unwrap();

    let grep =
        Command::new("grep").args(["-r", "-l", SECRET]).arg(all.path().join("kontain")).output();
    assert_eq!(String::from_utf8_lossy(&grep.unwrap().stdout), "");
}

#[test]
fn what_helps_is_told() {
    let node = node_with_secrets().unwrap();

    let all = unpacked(&node).unwrap();

    for (file, text) in [
        ("etc/docker/daemon.json", "\"path\": \"/opt/kontain/bin/krun\""),
        ("etc/docker/daemon.json", "\"debug\": true"),
        ("etc/containerd/config.toml.json", "\"version\": 2"),
        ("etc/containers/containers.conf.json", "\"runtime\": \"krun\""),
        ("etc/containers/containers.conf.json", "K=[redacted]"),
        ("etc/systemd/system/docker.service.d/proxy.conf", "HTTPS_PROXY=[redacted]"),
        ("etc/systemd/system/docker.service.d/proxy.conf", "--default-runtime krun"),
        ("proc/cmdline", "pti=on"),
        ("proc/1/mounts", "cgroup2"),
        ("proc/cpuinfo", "vmx"),
        ("run/docker/runtime-krun/moby/c1/state.json", "\"rule\": \"default\""),
        ("run/docker/runtime-krun/moby/c1/bundle.json", "DB=[redacted]"),
        ("run/docker/b/c1/log.json", "no such file"),
        ("check.json", "\"id\": \"kvm\""),
        ("manifest.json", "\"file\": \"/etc/crio/crio.conf\""),
    ] {
        let told = told(&all, file).unwrap();
        assert!(told.contains(text), "{file}: {text}: {told}");
    }
    assert!(!told(&all, "proc/cpuinfo").unwrap().contains("processor\t: 1"));
}

#[test]
fn no_link_is_followed_and_nothing_waits_or_is_too_large() {
    let node = node_with_secrets().unwrap();
    let log = node.path("/run/docker/b/c1/log.json");
    let units = node.path("/etc/systemd/system/docker.service.d");
    fs::remove_file(&log).unwrap();
    symlink(node.path("/etc/shadow"), &log).unwrap();
    symlink("/etc/shadow", units.join("link.conf")).unwrap();
    symlink(node.path("/etc"), node.path("/run/docker/linked")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, units.join("fifo.conf"), fifo, mode, 0).unwrap();
    node.write("/etc/default/docker", vec![b'#'; 1 << 20]).unwrap();

    let all = unpacked(&node).unwrap();

    let grep =
        Command::new("grep").args(["-r", "-l", SECRET]).arg(all.path().join("kontain")).output();
    assert_eq!(String::from_utf8_lossy(&grep.unwrap().stdout), "");
    let manifest: Value = serde_json::from_str(&told(&all, "manifest.json").unwrap()).unwrap();
    let left_out = manifest["left_out"].to_string();
    for (name, why) in [
        ("b/c1/log.json", "it is no plain file"),
        ("link.conf", "it is no plain file"),
        ("fifo.conf", "it is no plain file"),
        ("default/docker", "it is longer than"),
    ] {
        assert!(left_out.contains(name) && left_out.contains(why), "{name}: {left_out}");
    }
}

#[test]
fn the_archive_is_new_and_its_owners_alone() {
    let node = Node::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("archive.tar.gz");

    let first = collect(&node, &archive).unwrap();
    let size = fs::metadata(&archive).unwrap().size();
    let again = collect(&node, &archive).unwrap();
    let link = directory.path().join("link.tar.gz");
    symlink(directory.path().join("elsewhere"), &link).unwrap();
    let linked = collect(&node, &link).unwrap();
    let nowhere = collect(&node, Path::new("/proc/nosuch/archive.tar.gz")).unwrap();

    assert_eq!(fs::metadata(&archive).unwrap().mode() & 0o7777, 0o600);
    let codes = [&first, &again, &linked, &nowhere].map(|output| output.status.code());
    assert_eq!(codes, [Some(0), Some(3), Some(3), Some(5)], "{again:?} {nowhere:?}");
    assert_eq!(fs::metadata(&archive).unwrap().size(), size);
    assert!(!directory.path().join("elsewhere").exists());
}

#[test]
fn a_name_that_no_archive_has_room_for_costs_that_file_only() {
    let node = Node::new().unwrap();
    let long = format!("/etc/kontain/policy.d/{}.toml", "a".repeat(120));
    node.write(&long, "").unwrap();
    node.write("/etc/kontain/policy.d/10.toml", "preset = \"ecs\"\n").unwrap();

    let archive = unpacked(&node).unwrap();

    let manifest = told(&archive, "manifest.json").unwrap();
    assert!(manifest.contains("no room for its name"), "{manifest}");
    assert!(told(&archive, "etc/kontain/policy.d/10.toml.json").unwrap().contains("ecs"));
}
