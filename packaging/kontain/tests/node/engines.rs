//! What stands in the way of telling containerd, podman and CRI-O: refused, by file and field.

use kontain::{Engine, Wish};

use crate::place::{CONFIG_TOML, Node, wish, wish_default};

#[test]
fn what_containerd_would_not_read_is_refused() {
    let cri = "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes";
    let cases = [
        (String::new(), "version: there is none"),
        ("version = 1".into(), "version: 1 is none that kontain knows"),
        ("version = 5".into(), "version: 5 is none"),
        ("version = 'x'".into(), "version: \"x\" is none"),
        ("version = 2\ndisabled_plugins = ['cri']".into(), "disabled_plugins: \"cri\" is the CRI"),
        (
            "version = 3\ndisabled_plugins = ['io.containerd.cri.v1.runtime']".into(),
            "disabled_plugins: \"io.containerd.cri.v1.runtime\" is the CRI plugin",
        ),
        ("version = 2\nimports = ['conf.d/*.toml']".into(), "imports: a file of these"),
        (format!("version = 2\n{cri}.krun.options]\nBinaryName = '/x'"), "runtimes.krun: it is {"),
        (format!("version = 2\n{cri}]\nkrun = 7"), "runtimes.krun: it is 7 already"),
        ("version = 2\nplugins = []".into(), "plugins: it is array, where"),
        ("version = 2\nversion = 2".into(), "not valid TOML: line 2: duplicate key"),
        (
            "version = 2\r\n[a]\r\n".into(),
            "line 1 cannot be written again as it is: give lines Linux's ends",
        ),
        (
            "version = 2\n[plugins.'a'.b]\n[plugins.\"a\".c]\n".into(),
            "line 3 cannot be written again as it is: give lines Linux's ends, and quote each",
        ),
        ("version = 2\n= 3".into(), "not valid TOML: line 2"),
        ("\u{feff}version = 2".into(), "byte order mark"),
        (format!("version = 2\na = {}", "[".repeat(100_000)), "not valid TOML: line 2"),
    ];
    for (text, reason) in cases {
        let node = Node::with(CONFIG_TOML, &text).unwrap();
        let import = "[plugins.'io.containerd.grpc.v1.cri']\n";
        node.write("/etc/containerd/conf.d/cri.toml", import).unwrap();
        let before = node.all().unwrap();

        let error = node.install(Engine::Containerd, &wish_default()).unwrap_err().to_string();

        assert!(error.contains(reason) && error.contains(CONFIG_TOML), "{reason}: {error}");
        assert_eq!(node.all().unwrap(), before);
    }
}

#[test]
fn a_file_that_somebody_else_writes_or_containerd_does_not_read_is_refused() {
    let unit = "/etc/systemd/system/containerd.service";
    let cases = [
        ("/etc/eks/nodeadm.d/x", "", "nodeadm writes /etc/containerd/config.toml anew"),
        (unit, "[Service]\nExecStart=/x -c /y.toml\n", "reads /y.toml instead"),
    ];
    for (path, content, reason) in cases {
        let node = Node::with(path, content).unwrap();

        let error = node.install(Engine::Containerd, &wish()).unwrap_err().to_string();

        assert!(error.contains(reason), "{error}");
    }
}

/// A drop-in is one file among others, all of which count.
#[test]
fn what_stands_beside_a_drop_in_is_looked_at() {
    let main =
        |more: &str| format!("version = 3\nimports = ['/etc/containerd/conf.d/*.toml']\n{more}");
    let cri = "[plugins.'io.containerd.cri.v1.runtime'.containerd";
    let default = format!("version = 3\n{cri}]\ndefault_runtime_name = 'nvidia'\n");
    let other = format!("{cri}.runtimes.krun]\nruntime_type = 'io.containerd.runc.v2'\n");
    for (more, file, text, reason) in [
        (
            "disabled_plugins = ['io.containerd.cri.v1.runtime']\n",
            "10-a.toml",
            "",
            "is the CRI plugin",
        ),
        (other.as_str(), "10-a.toml", "", "already"),
        ("", "10-a.toml", &format!("version = 3\n{other}"), "already"),
        ("", "99-nvidia.toml", &default, "counts more than kontain's"),
        ("", "99-nvidia.toml", "version = = 3", "not valid TOML"),
    ] {
        let node = Node::with(CONFIG_TOML, main(more)).unwrap();
        node.write(&format!("/etc/containerd/conf.d/{file}"), text).unwrap();
        let before = node.all().unwrap();

        let error = node.install(Engine::Containerd, &wish_default()).unwrap_err();

        assert!(error.to_string().contains(reason), "{file}: {more}: {error}");
        assert_eq!(node.all().unwrap(), before);
    }
    let node = Node::with(CONFIG_TOML, main("")).unwrap();
    node.write("/etc/containerd/conf.d/10-nvidia.toml", default).unwrap();
    node.install(Engine::Containerd, &wish_default()).unwrap();
    assert!(node.read("/etc/containerd/conf.d/50-kontain.toml").unwrap().contains("krun"));
}

#[test]
fn without_a_file_containerd_gets_one_that_every_version_reads() {
    let node = Node::new().unwrap();

    node.install(Engine::Containerd, &wish()).unwrap();

    insta::assert_snapshot!(node.read(CONFIG_TOML).unwrap());
    node.uninstall(Engine::Containerd).unwrap();
    assert!(!node.path("/etc").exists());
}

#[test]
fn a_later_drop_in_that_says_something_else_is_refused() {
    let later = "/etc/containers/containers.conf.d/99-site.conf";
    let node = Node::with(later, "[engine]\nruntime = \"runc\"\n").unwrap();
    let crio = "/etc/crio/crio.conf.d/10-crio.conf";
    node.write(crio, "[crio.runtime.runtimes.krun]\nruntime_path = \"/usr/bin/crun\"\n").unwrap();

    let counts_more = node.install(Engine::Podman, &wish_default()).unwrap_err().to_string();
    let same_name = node.install(Engine::Crio, &wish()).unwrap_err().to_string();
    let named = Wish { name: "kontain".to_owned(), ..wish() };

    assert!(counts_more.contains(later) && counts_more.contains("engine.runtime"), "{counts_more}");
    assert!(same_name.contains(crio) && same_name.contains("runtimes.krun"), "{same_name}");
    node.install(Engine::Podman, &wish()).unwrap();
    node.install(Engine::Crio, &named).unwrap();
}

#[test]
fn podmans_own_krun_is_told_of() {
    let node = Node::with("/usr/bin/krun", "").unwrap();

    let work = node.install(Engine::Podman, &wish()).unwrap();

    assert!(work.warnings[0].contains("podman knew /usr/bin/krun"), "{:?}", work.warnings);
}

#[test]
fn names_and_programs_that_no_engine_takes_are_refused() {
    let node = Node::new().unwrap();
    for name in ["", "runc", "Krun", "a b", "-a", "a-", "a.b", &"a".repeat(64)] {
        let error = node.install(Engine::Docker, &Wish { name: name.to_owned(), ..wish() });

        assert!(error.unwrap_err().to_string().starts_with("--name"), "{name}");
    }
    for binary in ["krun", "/no/such", "/opt/kontain", "/a b"] {
        let error = node.install(Engine::Docker, &Wish { binary: binary.into(), ..wish() });

        assert!(error.is_err(), "{binary}");
    }
}
