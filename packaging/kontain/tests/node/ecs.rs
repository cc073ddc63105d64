//! An instance of ECS: attributes, policy and docker's default at once, and all of it away again.

use std::path::Path;

use anyhow::Result;
use kontain::{Engine, NodeError, Work};
use sha2::{Digest, Sha256};

use crate::place::{DAEMON_JSON, Node, wish};

const OWN: &str = "/var/lib/ecs/ecs.config";
const USERS: &str = "/etc/ecs/ecs.config";
const POLICY: &str = "/etc/kontain/policy.d/10-ecs.toml";
const AGENT: &str = "/var/cache/ecs/ecs-agent.tar";
const PROGRAM: &[u8] = b"the pause container's program";
const ATTRIBUTES: &str =
    "ECS_INSTANCE_ATTRIBUTES={\"kontain.runtime\":\"krun\",\"kontain.backend\":\"kvm\"}\n";

/// An archive with one file, and one that is none of the wanted.
fn archive(name: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in [("other", &b"no archive"[..]), (name, bytes)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len().try_into()?);
        header.set_mode(0o755);
        archive.append_data(&mut header, name, bytes)?;
    }
    Ok(archive.into_inner()?)
}

/// The agent's image: pause's image is a file of one of its layers.
fn agent(is_packed: bool) -> Result<Vec<u8>> {
    let pause = archive("0abc/layer.tar", &archive("pause", PROGRAM)?)?;
    let mut layer = archive("images/amazon-ecs-pause.tar", &pause)?;
    if is_packed {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, &layer)?;
        layer = packed.finish()?;
    }
    archive("blobs/sha256/1", &layer)
}

fn hash() -> String {
    Sha256::digest(PROGRAM).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[test]
fn all_of_it_comes_and_goes() {
    for is_packed in [false, true] {
        let node = Node::with(DAEMON_JSON, "{\"log-driver\": \"journald\"}").unwrap();
        node.write(AGENT, agent(is_packed).unwrap()).unwrap();
        let before = node.all().unwrap();

        node.install_all(Engine::Ecs, &wish()).unwrap();

        assert_eq!(node.read(OWN).unwrap(), ATTRIBUTES);
        let policy = node.read(POLICY).unwrap();
        let rules = format!("preset = \"ecs\"\npause_sha256 = [\"{}\"]\n", hash());
        assert!(policy.starts_with("# ECS") && policy.ends_with(&rules), "{policy}");
        let daemon = node.read(DAEMON_JSON).unwrap();
        assert!(daemon.contains("\"default-runtime\": \"krun\""), "{daemon}");
        let again = node.install_all(Engine::Ecs, &wish()).unwrap();
        assert!(!again.iter().any(Work::is_needed));
        let found = kontain::check(&node.root().unwrap(), &wish().binary);
        for part in ["ecs", "ecs-policy", "docker"] {
            let finding = found.iter().find(|finding| finding.id == part).unwrap();
            assert_eq!(finding.status, kontain::Status::Ok, "{finding:?}");
        }

        node.uninstall_all(Engine::Ecs).unwrap();
        assert_eq!(node.all().unwrap(), before);
    }
}

#[test]
fn a_pause_container_that_comes_later_is_found_and_stays_known() {
    let node = Node::with(DAEMON_JSON, "{}").unwrap();
    let works = node.install_all(Engine::Ecs, &wish()).unwrap();
    assert!(works[1].warnings[0].contains("virtual machines, too"), "{:?}", works[1].warnings);
    assert!(!node.read(POLICY).unwrap().contains("pause_sha256"));

    node.write(AGENT, agent(false).unwrap()).unwrap();
    node.install_all(Engine::Ecs, &wish()).unwrap();
    assert!(node.read(POLICY).unwrap().contains(&hash()));

    std::fs::remove_file(node.path(AGENT)).unwrap();
    let works = node.install_all(Engine::Ecs, &wish()).unwrap();
    assert!(!works.iter().any(Work::is_needed));
    assert!(node.read(POLICY).unwrap().contains(&hash()));
}

#[test]
fn attributes_that_are_there_stay() {
    let line = "ECS_CLUSTER=c\nECS_INSTANCE_ATTRIBUTES={\"stack\": \"blue\"}\nECS_LOGLEVEL=info";
    for file in [OWN, USERS] {
        let node = Node::with(file, line).unwrap();
        node.write(DAEMON_JSON, "{}").unwrap();
        let before = node.all().unwrap();

        node.install_all(Engine::Ecs, &wish()).unwrap();

        let after = node.read(file).unwrap();
        for words in ["\"stack\": \"blue\"", "\"kontain.runtime\": \"krun\"", "ECS_CLUSTER=c\n"] {
            assert!(after.contains(words), "{after}");
        }
        assert_eq!(after.lines().count(), 3, "{after}");
        node.uninstall_all(Engine::Ecs).unwrap();
        assert_eq!(node.all().unwrap(), before);
    }
}

#[test]
fn what_others_add_meanwhile_stays() {
    let node = Node::with(DAEMON_JSON, "{}").unwrap();
    node.install_all(Engine::Ecs, &wish()).unwrap();
    let more = format!("{ATTRIBUTES}ECS_CLUSTER=late\n").replace("{\"kon", "{\"a\":\"b\",\"kon");
    node.write(OWN, more).unwrap();

    node.uninstall_all(Engine::Ecs).unwrap();

    assert_eq!(
        node.read(OWN).unwrap(),
        "ECS_INSTANCE_ATTRIBUTES={\"a\":\"b\"}\nECS_CLUSTER=late\n"
    );
}

#[test]
fn an_instance_that_has_registered_is_told_of() {
    let node = Node::with("/var/lib/ecs/data/agent.db", "").unwrap();
    let works = node.install_all(Engine::Ecs, &wish()).unwrap();
    assert!(works[0].warnings[0].contains("put-attributes"), "{:?}", works[0].warnings);
    let again = node.install_all(Engine::Ecs, &wish()).unwrap();
    assert_eq!(again[0].warnings, Vec::<String>::new());
}

/// What is wrong with one part leaves the others as they were.
#[test]
fn nothing_is_done_if_a_part_is_refused() {
    for (path, text, words) in [
        (DAEMON_JSON, "{\"runtimes\": {\"krun\": {\"path\": \"/x\"}}}", "runtimes.krun"),
        (DAEMON_JSON, "no json", "not valid JSON"),
        (POLICY, "preset = \"kubernetes\"\n", "move what is in it"),
        (POLICY, "# pause_sha256 one day\n", "move what is in it"),
        (
            USERS,
            "ECS_INSTANCE_ATTRIBUTES={\"kontain.runtime\":\"runc\"}\n",
            "it is \"runc\" already",
        ),
        (USERS, "ECS_INSTANCE_ATTRIBUTES='{}'\n", "no JSON object"),
        (OWN, "ECS_INSTANCE_ATTRIBUTES={}\nECS_INSTANCE_ATTRIBUTES={}\n", "twice"),
        ("/etc/sysconfig/docker", "OPTIONS=\"--default-runtime=runc\"\n", "--default-runtime"),
    ] {
        let node = Node::with(path, text).unwrap();
        let before = node.all().unwrap();

        let error = node.install_all(Engine::Ecs, &wish()).unwrap_err();

        assert!(matches!(error, NodeError::Refused { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(node.all().unwrap(), before, "{path}: {text}");
    }
}

#[test]
fn a_policy_that_somebody_has_changed_is_not_written_over() {
    let node = Node::with(DAEMON_JSON, "{}").unwrap();
    node.install_all(Engine::Ecs, &wish()).unwrap();
    let own = format!("{}\n# mine\n", node.read(POLICY).unwrap());
    node.write(POLICY, &own).unwrap();
    node.write(AGENT, agent(false).unwrap()).unwrap();

    let error = node.install_all(Engine::Ecs, &wish()).unwrap_err().to_string();
    assert!(error.contains("10-ecs.toml") && error.contains("another name"), "{error}");
    node.uninstall_all(Engine::Ecs).unwrap();

    assert_eq!(node.read(POLICY).unwrap(), own);
    assert_eq!(node.read(DAEMON_JSON).unwrap(), "{}");
    assert!(!node.path(OWN).exists());
}

#[test]
fn variables_that_come_to_count_more_are_told_of() {
    let node = Node::with(DAEMON_JSON, "{}").unwrap();
    node.install_all(Engine::Ecs, &wish()).unwrap();
    node.write(USERS, "ECS_INSTANCE_ATTRIBUTES={}\n").unwrap();

    let error = node.install_all(Engine::Ecs, &wish()).unwrap_err().to_string();

    assert!(error.contains("counts more") && error.contains("uninstall ecs"), "{error}");
}

/// Killed between any two changes: done again, or taken away, nothing half is left.
#[test]
fn what_was_killed_is_finished_or_taken_away() {
    let fresh = || -> Result<Node> {
        let node = Node::with(DAEMON_JSON, "{\"a\": 1}\n")?;
        node.write(USERS, "ECS_CLUSTER=c\nECS_INSTANCE_ATTRIBUTES={\"a\":\"b\"}\n")?;
        Ok(node)
    };
    let before = fresh().unwrap();
    let mut count = 0;
    loop {
        let [finished, ended] = [fresh().unwrap(), fresh().unwrap()];
        let mut is_cut = false;
        for node in [&finished, &ended] {
            let root = node.root().unwrap();
            let works = kontain::install_all(&root, Engine::Ecs, &wish()).unwrap();
            is_cut = Work::apply_first(&works, &root, count).unwrap();
        }
        finished.install_all(Engine::Ecs, &wish()).unwrap();
        assert!(finished.read(DAEMON_JSON).unwrap().contains("default-runtime"), "{count}");
        assert!(finished.read(USERS).unwrap().contains("kontain.backend"), "{count}");
        for node in [finished, ended] {
            node.uninstall_all(Engine::Ecs).unwrap();
            for file in [DAEMON_JSON, USERS] {
                assert_eq!(node.read(file).unwrap(), before.read(file).unwrap(), "{count}");
            }
            assert!(!node.path(POLICY).exists(), "{count}");
            assert!(!Path::new(&node.path("/var/lib/kontain/install/ecs.json")).exists());
        }
        count += 1;
        if !is_cut {
            break;
        }
    }
    assert!(count > 5, "{count}");
}
