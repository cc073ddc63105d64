//! The same for TOML: every byte is as before, and nothing else is meant meanwhile.

use anyhow::Result;
use kontain::Engine;
use proptest::prelude::*;
use toml::{Table, Value};

use crate::place::{CONFIG_TOML, Node, wish, wish_default};

/// Parts of files, in many forms. `CRI` is the plugin's name.
const PARTS: [&str; 12] = [
    "# a comment\n\n",
    "[plugins]\n",
    "  [plugins.\"CRI\"] # indented\n    sandbox_image = 'pause'\n",
    "[plugins.\"CRI\".containerd]\ndefault_runtime_name=\"runc\" # why\n",
    "[plugins.\"CRI\".containerd.runtimes]\n",
    "[plugins.\"CRI\".containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n",
    "[plugins.\"CRI\".containerd.runtimes.runc.options]\nSystemdCgroup = true\n\n\n",
    "[plugins.\"CRI\".containerd.runtimes.\"kata\"]\noptions = { a = [1,\n 2], \"b.c\" = '' }\n",
    "[grpc]\naddress = \"/run/x\"\nmax = 0x10\n",
    "\t[metrics]\n\taddress = '''a\n[b]'''\n",
    "[[stream]]\na = 1\n[[stream]]\na = 2\n[stream.b]\nc = 1979-05-27\n",
    "[proxy_plugins.\"a b\"]\nx.y.z = 1.50\n[timeouts]\n",
];

fn document() -> impl Strategy<Value = String> {
    let all: Vec<_> = PARTS.to_vec();
    let parts = prop::sample::subsequence(all, 0..=PARTS.len()).prop_shuffle();
    (2..=4, any::<bool>(), parts).prop_map(|(version, newline, parts)| {
        let cri =
            if version == 2 { "io.containerd.grpc.v1.cri" } else { "io.containerd.cri.v1.runtime" };
        let text = format!("version = {version}\n{}", parts.concat().replace("CRI", cri));
        if newline { text } else { text.trim_end_matches('\n').to_owned() }
    })
}

/// Takes kontain's own away, and tables in which nothing is left.
fn without_krun(text: &str) -> Result<Table> {
    let mut all: Table = text.parse()?;
    prune(&mut all);
    Ok(all)
}

fn prune(table: &mut Table) {
    table.remove("krun");
    table.remove("default_runtime_name");
    for (_, value) in table.iter_mut() {
        if let Value::Table(inner) = value {
            prune(inner);
        }
    }
    table.retain(|_, value| value.as_table().is_none_or(|inner| !inner.is_empty()));
}

fn round_trip(text: &str, default: bool, edited: bool) -> Result<()> {
    let node = Node::with(CONFIG_TOML, text)?;
    let untouched = node.all()?;
    let wish = if default { wish_default() } else { wish() };
    if let Err(error) = node.install(Engine::Containerd, &wish) {
        assert!(text.parse::<Table>().is_err(), "{error}\n{text}");
        assert_eq!(node.all()?, untouched);
        return Ok(());
    }
    let after = node.read(CONFIG_TOML)?;
    assert!(after.contains("BinaryName = \"/opt/kontain/bin/krun\""), "{after}");
    if text.contains("runc]") {
        assert_eq!(without_krun(&after)?, without_krun(text)?, "{after}");
    }
    // Nothing is written in another form.
    for line in text.lines().filter(|line| !line.starts_with("default_runtime_name")) {
        assert!(after.lines().any(|other| other == line), "{line:?} is not in\n{after}");
    }
    if edited {
        node.write(CONFIG_TOML, format!("{after}\n# edited\n"))?;
        node.uninstall(Engine::Containerd)?;
        let left = node.read(CONFIG_TOML)?;
        assert_eq!(without_krun(&left)?, without_krun(text)?, "{left}");
        return Ok(());
    }
    node.uninstall(Engine::Containerd)?;
    assert_eq!(node.all()?, untouched);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn config_toml_is_as_before(text in document(), default: bool, edited: bool) {
        round_trip(&text, default, edited).unwrap();
    }
}
