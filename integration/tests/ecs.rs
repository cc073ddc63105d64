//! krun as dockerd's default runtime on a node of ECS: the agent and its pause containers run natively,
//! tasks in virtual machines.
//!
//! The agent is a stand-in that does with docker what ECS's does: it starts a pause container and a
//! task that joins it. How `ecs-init` starts it is as in its source: host network, an init, docker's
//! socket, the host's programs.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use integration::dockerd::{Dockerd, IMAGE};
use integration::outcome::{self, Outcome};
use integration::rootfs;
use integration::{built, guests};

/// What ECS's pause container does.
const PAUSE: &str = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n";

/// What the stand-in does. `IMAGE` is set for it.
const AGENT: &str = r#"#!/bin/sh
set -e
docker() { /host/docker --host unix:///var/run/docker.sock "$@"; }
echo "agent runs on $(uname -r) as $$"
docker run -d --name pause --net none --cgroup-parent /ecs/7 pause:test
docker run -d --name task --network container:pause --cgroup-parent /ecs/7 "$IMAGE" sleep 1000
docker exec task uname -r
echo "task joined $(docker exec task busybox readlink /proc/1/ns/net)"
echo "pause has $(docker exec pause /pause-net)"
sleep 1000
"#;

/// Where it finds the namespace that a task should have joined; the image of a pause container has
/// no such program.
const PAUSE_NET: &str = "#include <stdio.h>\n#include <unistd.h>\nint main(void) { char to[64] = \"\"; \
     if (readlink(\"/proc/1/ns/net\", to, 63) > 0) puts(to); return 0; }\n";

/// Directories of the host that `ecs-init` mounts, which are gone after the test if they were not
/// there before.
struct HostDirectories(Vec<&'static str>);

impl HostDirectories {
    fn make() -> Result<Self> {
        let all = ["/var/lib/ecs", "/var/lib/ecs/data", "/etc/ecs"];
        let new: Vec<_> = all.into_iter().filter(|path| !Path::new(path).exists()).collect();
        for path in &new {
            fs::create_dir(path)?;
        }
        Ok(Self(new))
    }
}

impl Drop for HostDirectories {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            drop(fs::remove_dir(path));
        }
    }
}

/// Makes the images below `dir`, and a daemon with the preset and the hash of the pause container's
/// program.
fn node(dir: &Path, krun: &Path) -> Result<Dockerd> {
    let (pause, agent, policy) = (dir.join("pause"), dir.join("agent"), dir.join("policy"));
    for made in [&pause, &pause.join("proc"), &agent, &policy] {
        fs::create_dir(made)?;
    }
    guests::c_text(PAUSE, &pause.join("pause"))?;
    guests::c_text(PAUSE_NET, &pause.join("pause-net"))?;
    rootfs::make(&agent)?;
    fs::write(agent.join("agent"), AGENT)?;
    fs::set_permissions(agent.join("agent"), Permissions::from_mode(0o755))?;

    let sum = outcome::run(Command::new("sha256sum").arg(pause.join("pause")), None)?.stdout();
    let hash = sum.split(' ').next().unwrap_or_default();
    let rules = format!("preset = \"ecs\"\npause_sha256 = [\"{hash}\"]\n");
    fs::write(policy.join("10-ecs.toml"), rules)?;
    let docker = Dockerd::start_with_policy(krun, &policy)?;
    // ECS's images name their programs.
    for (directory, image, program) in
        [(&pause, "pause:test", "/pause"), (&agent, "agent:test", "/agent")]
    {
        docker.import_image(directory, image)?;
        let created = docker.call(["create", "--runtime", "runc", image, program])?;
        ensure!(created.is_success(), "{created:?}");
        let id = created.stdout();
        let entry = format!("ENTRYPOINT [{program:?}]");
        let changes = ["commit", "--change", &entry, "--change", "CMD []", id.trim(), image];
        let committed = docker.call(changes)?;
        ensure!(committed.is_success(), "{committed:?}");
        docker.call(["rm", id.trim()])?;
    }
    Ok(docker)
}

/// Starts the agent as `ecs-init` does, and waits until it has done all.
fn run_agent(docker: &Dockerd) -> Result<Outcome> {
    let socket = format!("{}:/var/run/docker.sock", docker.socket().display());
    let image = format!("IMAGE={IMAGE}");
    let name = ["run", "-d", "--name", "agent", "--init", "--net", "host", "--userns", "host"];
    let rights = ["--cap-add", "NET_ADMIN", "--cap-add", "SYS_ADMIN", "-v", &socket];
    let directories = ["-v", "/var/lib/ecs/data:/data", "-v", "/etc/ecs:/etc/ecs"];
    let programs = ["-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro"];
    let docker_itself = ["-v", "/usr/bin/docker:/host/docker:ro", "-e", &image, "agent:test"];
    let args = [&name[..], &rights, &directories, &programs, &docker_itself].concat();
    let started = docker.call(args)?;
    ensure!(started.is_success(), "{started:?}\n{}", docker.log());
    let logs = || docker.call(["logs", "agent"]);
    let done = outcome::eventually(outcome::TIME_LIMIT, || {
        logs().is_ok_and(|said| said.stdout().contains("pause has"))
    });
    ensure!(done, "{:?}\n{}", logs()?, docker.log());
    logs()
}

#[test]
fn an_agent_and_its_pause_container_are_native_and_the_task_is_not() {
    let krun = built::krun().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let docker = node(dir.path(), &krun).unwrap();
    let _directories = HostDirectories::make().unwrap();

    let said = run_agent(&docker).unwrap();
    let modes = docker.modes(&krun).unwrap();
    let mode = |name: &str| {
        let id = docker.call(["inspect", "--format", "{{.Id}}", name]).unwrap().stdout();
        let (mode, rule) = modes.get(id.trim()).cloned().unwrap_or_default();
        format!("{mode} by {rule}")
    };
    let found = ["agent", "pause", "task"].map(mode);
    for name in ["task", "pause", "agent"] {
        docker.call(["rm", "--force", name]).unwrap();
    }

    let text = said.stdout();
    let expected = ["native by ecs-agent", "native by ecs-pause", "vm by default"];
    assert_eq!(found, expected, "{said:?}\n{}", docker.log());
    let host = rustix::system::uname().release().to_string_lossy().into_owned();
    assert!(text.contains(&format!("agent runs on {host} as ")), "{said:?}");
    assert!(text.contains(&format!("{host}.kontain.KVM\n")), "{said:?}");
    let namespace = |before: &str| {
        text.lines().find_map(|line| line.strip_prefix(before)).unwrap_or_default().to_owned()
    };
    let joined = namespace("task joined ");
    assert!(joined.starts_with("net:[") && joined == namespace("pause has "), "{said:?}");
}
