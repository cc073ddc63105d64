//! Tests of where values are from and of what is refused.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use clap::Parser;
use tempfile::TempDir;

use super::{Exitless, Flags, Origin, Settings};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

fn flags(words: &[&str]) -> Flags {
    Line::try_parse_from([&["krun"], words].concat()).unwrap().flags
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        set(&path, 0o644);
    }
    directory
}

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn read(directory: &Path, variables: &[(&str, &str)], words: &[&str]) -> (Settings, Vec<String>) {
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    let (settings, errors) = Settings::read(directory, variables, &flags(words));
    (settings, errors.iter().map(ToString::to_string).collect())
}

#[test]
fn without_anything_there_are_the_defaults() {
    let (settings, errors) = read(Path::new("/nonexistent"), &[("KONTAIN_OTHER", "x")], &[]);

    assert_eq!((settings, errors), (Settings::default(), Vec::new()));
}

#[test]
fn each_place_wins_over_those_before_it() {
    let directory = directory(&[
        ("krun.toml", "exitless = \"on\"\nstats = true\ndebug = true\nrelease_suffix = false\n"),
        ("krun.d/20.toml", "stats = false\n"),
        ("krun.d/10.toml", "stats = true\ndebug = false\n"),
        ("krun.d/30.bak", "not read"),
    ]);
    let variables = [("KONTAIN_KRUN_EXITLESS", "off"), ("KONTAIN_KRUN_DEBUG", "true")];

    let (settings, errors) = read(directory.path(), &variables, &["--debug=false"]);

    assert_eq!(errors, [""; 0]);
    let origin = |name: &str| {
        let all = settings.all();
        all.iter().find(|one| one.0 == name).unwrap().2.clone()
    };
    let file = |name: &str| Origin::File(directory.path().join(name));
    assert!(!*settings.release_suffix && origin("release_suffix") == file("krun.toml"));
    assert!(!*settings.stats && origin("stats") == file("krun.d/20.toml"));
    let variable = Origin::Variable("KONTAIN_KRUN_EXITLESS".to_owned());
    assert!(*settings.exitless == Exitless::Off && origin("exitless") == variable);
    assert!(!*settings.debug && origin("debug") == Origin::Flag("--debug"));
    assert!(*settings.monitor_filter && origin("monitor_filter") == Origin::Default);
}

#[test]
fn an_option_wins_either_way() {
    let (on, off) = ("release_suffix = true\nmonitor_filter = true\n", "release_suffix = false\n");
    for (text, words, expected) in [
        (on, &["--no-release-suffix", "--no-monitor-filter"][..], (false, false)),
        (off, &["--no-release-suffix=false"], (true, true)),
        (off, &[], (false, true)),
    ] {
        let directory = directory(&[("krun.toml", text)]);
        let (settings, _) = read(directory.path(), &[], words);
        assert_eq!((*settings.release_suffix, *settings.monitor_filter), expected, "{words:?}");
    }
    // What follows a switch is not its value.
    assert!(Line::try_parse_from(["krun", "--debug", "false"]).is_err());
}

#[test]
fn a_mistake_names_file_key_and_remedy_and_sets_nothing() {
    for (text, expected) in [
        ("stat = true\n", "krun.toml: stat: there is no such setting: there are debug, exitless"),
        ("stats = \"yes\"\n", "krun.toml: stats: found \"yes\", expected true or false: write"),
        ("stats = 1\n", "found a value of type integer, expected true or false"),
        ("exitless = \"fast\"\n", "exitless: found \"fast\", expected auto, on or off"),
        ("exitless = true\n", "exitless: found a value of type boolean"),
        ("policy_dir = \"policy.d\"\n", "policy_dir: found \"policy.d\", expected an absolute"),
        ("[stats]\n", "stats: found a value of type table"),
        ("debug = true\ndebug = true\n", "line 2"),
        ("nonsense", "line 1"),
    ] {
        let directory = directory(&[("krun.toml", text)]);

        let (settings, errors) = read(directory.path(), &[], &[]);

        assert!(errors.len() == 1 && errors[0].contains(expected), "{text}: {errors:?}");
        assert_eq!(settings, Settings::default(), "{text}");
    }
}

#[test]
fn one_mistake_hides_neither_another_nor_what_is_right() {
    let text = "stats = true\nx = 1\n";
    let directory = directory(&[("krun.toml", text), ("krun.d/1.toml", "y = 1\ndebug = true\n")]);

    let (settings, errors) = read(directory.path(), &[("KONTAIN_KRUN_Z", "1")], &[]);

    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(*settings.stats && *settings.debug);
}

#[test]
fn no_variable_sets_what_security_needs() {
    for (name, value) in [
        ("KONTAIN_KRUN_MONITOR_FILTER", "false"),
        ("KONTAIN_KRUN_MONITOR_FILTER", "true"),
        ("KONTAIN_KRUN_POLICY_DIR", "/tmp"),
        ("KONTAIN_KRUN_policy_dir", "/tmp"),
    ] {
        let (settings, errors) = read(Path::new("/nonexistent"), &[(name, value)], &[]);

        assert_eq!(settings, Settings::default(), "{name}");
        let expected = "no variable sets what security needs: set it in /etc/kontain/krun.toml";
        assert!(errors.len() == 1 && errors[0].ends_with(expected), "{errors:?}");
    }
    for (name, value) in [("KONTAIN_KRUN_STATS", "yes"), ("KONTAIN_KRUN_", "1")] {
        let (_, errors) = read(Path::new("/nonexistent"), &[(name, value)], &[]);
        assert!(errors.len() == 1 && errors[0].contains(name), "{errors:?}");
    }
    let empty = ["KONTAIN_KRUN_DEBUG", "KONTAIN_KRUN_POLICY_DIR"].map(|name| (name, ""));
    let (settings, errors) = read(Path::new("/nonexistent"), &empty, &[]);
    assert!(settings == Settings::default() && errors.is_empty(), "{errors:?}");
    let bytes = OsString::from_vec(vec![0xff]);
    let variables = [("KONTAIN_KRUN_EXITLESS".into(), bytes)].into_iter();
    let (_, errors) = Settings::read(Path::new("/nonexistent"), variables, &Flags::default());
    assert_eq!(errors.len(), 1);
}

#[test]
fn what_others_could_write_counts_for_nothing() {
    let files = [("krun.toml", "stats = true\n"), ("krun.d/1.toml", "debug = true\n")];
    for name in ["krun.toml", "krun.d/1.toml", "krun.d", "."] {
        let directory = directory(&files);
        set(&directory.path().join(name), 0o777);

        let (settings, errors) = read(directory.path(), &[], &[]);

        let of_file = name == "krun.toml" || name == ".";
        assert_eq!((*settings.stats, *settings.debug), (!of_file, name == "krun.toml"), "{name}");
        assert!(errors.iter().all(|error| error.contains("chmod go-w")), "{errors:?}");
        assert_eq!(errors.len(), if name == "." { 2 } else { 1 }, "{errors:?}");
    }
    let directory = directory(&files);
    fs::rename(directory.path().join("krun.toml"), directory.path().join("own")).unwrap();
    symlink("own", directory.path().join("krun.toml")).unwrap();
    let (_, errors) = read(directory.path(), &[], &[]);
    assert!(errors.len() == 1 && errors[0].contains("symbolic link"), "{errors:?}");
}
