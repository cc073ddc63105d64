//! Policy files, and what they say of a container: a rule that decides is the last one that was asked, and nothing stands
//! in its way.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use krun_policy::{Mode, Policy};
use libfuzzer_sys::fuzz_target;
use spec_compat::Config;

/// A container that has nothing but what an image can give it.
static PLAIN: LazyLock<Config> = LazyLock::new(|| {
    let text = br#"{"ociVersion": "1.0.2", "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["/pause", "--", "/agent"],
                    "capabilities": {"bounding": ["CAP_CHOWN"]}},
        "linux": {"cgroupsPath": "/docker/abc", "namespaces": [{"type": "network"}, {"type": "pid"},
                  {"type": "ipc"}, {"type": "uts"}], "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}},
        "annotations": {"a.b": "c"}}"#;
    Config::parse(text).expect("it is well formed")
});

fuzz_target!(|text: &str| {
    let Ok(policy) = Policy::parse(text, Path::new("policy.toml")) else { return };
    let (asked, decision) = policy.explain(&PLAIN, Path::new("/nonexistent"));
    if let Ok(decision) = decision
        && decision.rule != "default"
    {
        assert!(asked.last().is_some_and(|rule| rule.obstacle.is_none()), "{asked:?}");
        assert!(matches!(decision.mode, Mode::Vm | Mode::Native));
    }
});
