//! Rules that come with krun, for files that say `preset = "…"`.

use super::file::{Document, Verdict};

/// What ECS's agent and its pause containers need. The agent works on the host itself: its
/// namespaces, its docker, its iptables. It is known by where `ecs-init` has the engine put it, which
/// is not where the agent has it put tasks.
const ECS: &str = r#"
[[rule]]
id = "ecs-agent"
mode = "native"
[rule.match]
cgroup_parent = ["system.slice", "/docker"]
network = "host"
args = ["*init", "--", "/agent"]
binds = ["/var/lib/ecs/data", "/etc/ecs"]

[[rule]]
id = "ecs-pause"
mode = "native"
[rule.match]
cgroup_parent = ["ecstasks-*", "/ecs/*"]
args = ["/pause"]
program_sha256 = []
privileged = false
"#;

/// The containers that hold a pod's namespaces. What engines say of them by annotations a pod can say of
/// itself, so they are known by their program.
const KUBERNETES: &str = r#"
[[rule]]
id = "pod-sandbox"
mode = "native"
[rule.match]
args = ["/pause"]
program_sha256 = []
privileged = false
"#;

/// The rules of the preset called `name`, with the programs that may be pause containers.
pub(super) fn rules(name: &str, pause_sha256: &[String]) -> Option<Document> {
    let text = match name {
        "default" => "",
        "ecs" => ECS,
        "kubernetes" => KUBERNETES,
        _ => return None,
    };
    let mut document: Document = toml::from_str(text).expect("krun's own rules are well formed");
    for rule in &mut document.rule {
        rule.condition.allow_programs(pause_sha256);
        debug_assert!(rule.verdict == Verdict::Native, "presets make exceptions");
    }
    Some(document)
}

#[cfg(test)]
mod tests {
    use super::rules;

    #[test]
    fn presets_can_be_read() {
        for (name, count) in [("default", 0), ("ecs", 2), ("kubernetes", 1)] {
            assert_eq!(rules(name, &[]).unwrap().rule.len(), count, "{name}");
        }
        assert!(rules("nosuch", &[]).is_none());
    }
}
