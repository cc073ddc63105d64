//! Good `config.json` documents with one thing wrong: what runc runs, krun runs, what runc refuses, krun
//! refuses, and says which field it is about. Where they part on purpose, [`PARTINGS`] says why.
//!
//! `PROPTEST_CASES` says how many documents there are. They are always the same, but for another
//! `PROPTEST_RNG_SEED`.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use anyhow::{Context as _, Result, ensure};
use conformance::Stage;
use integration::outcome::{End, Outcome};
use integration::runtime::Runtime;
use proptest::prelude::prop;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use serde_json::{Value, json};

/// How many documents there are where nobody wants more: about half a minute.
const CASES: u32 = 300;

/// Which documents they are.
const SEED: RngSeed = RngSeed::Fixed(1);

/// A change of one place.
#[derive(Clone, Debug)]
struct Change {
    place: String,
    /// Nothing takes out what is there.
    value: Option<Value>,
}

/// Who runs what the other refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runs {
    Runc,
    Krun,
}

/// Places (`N` is any index) where krun and runc part, and why krun does what it does.
const PARTINGS: &[(&str, Runs, &str)] = &[
    ("/ociVersion", Runs::Runc, "required, and what it is not cannot be known to be meant"),
    ("/process/capabilities", Runs::Runc, "runc warns of what can be no capability's name"),
    ("/linux/maskedPaths", Runs::Runc, "runc does not mask what is no path, and says nothing"),
    ("/linux/readonlyPaths", Runs::Runc, "runc leaves what is no path writable, and says nothing"),
    ("/linux/devices/N/path", Runs::Runc, "the specification: a full path"),
    ("/linux/devices/N/major", Runs::Runc, "runc cuts bits off and makes another device"),
    ("/linux/devices/N/minor", Runs::Runc, "runc cuts bits off and makes another device"),
    (
        "/linux/resources/devices/N/access",
        Runs::Runc,
        "runc takes an access of which it knows no letter",
    ),
    ("/hooks/createRuntime/N/timeout", Runs::Runc, "the specification: greater than zero"),
    ("/hooks/createRuntime/N/timeout", Runs::Krun, "runc's time is over before it began"),
    ("/linux/seccomp", Runs::Runc, "runc takes what is required and not there for 0 or nothing"),
    ("/linux/resources/cpu/shares", Runs::Krun, "the kernel takes the most it can give"),
    ("/process/rlimits/N/soft", Runs::Krun, "runc itself needs some descriptors below the limit"),
    ("/mounts/N/source", Runs::Runc, "runc binds the bundle itself where no source is given"),
    ("/mounts/N/options", Runs::Runc, "without `bind` it is no bind mount, with nothing to bind"),
];

/// What errors say whatever they are about.
const SAID_ANYWAY: [&str; 4] = [
    "unable to start container process",
    "error during container init",
    "runc create failed",
    "runc run failed",
];

/// Places whose errors do not name the field, what these say instead, and why.
const LATE: &[(&str, &str, &str)] = &[
    (
        "/hooks/createRuntime/N/path",
        "running createRuntime hook #",
        "late, in libcontainer's words",
    ),
    ("/linux/resources/memory/swap", "/memory.memsw.limit_in_bytes: ", "late: the kernel's name"),
    ("/linux/resources/pids/limit", "/pids.max: ", "late: the kernel's name"),
    ("/linux/seccomp/syscalls/N/args/N/index", "linux.seccomp: ", "late, in libseccomp's words"),
    ("/mounts", "linux.sysctl: ", "what needs the mount is named"),
    ("/mounts/N", "linux.sysctl: ", "what needs the mount is named"),
    ("/mounts/N/destination", "linux.sysctl: ", "what needs the mount is named"),
    (
        "/mounts/N/options",
        "expected the option bind or rbind",
        "the type is named that asks for it",
    ),
    ("/mounts/N/options", "failed to mount /", "late, in libcontainer's words"),
    (
        "/mounts/N/options/N",
        "expected the option bind or rbind",
        "the type is named that asks for it",
    ),
    ("/mounts/N/options/N", "failed to mount /", "late, in libcontainer's words"),
    ("/mounts/N/source", "failed to mount /", "late, in libcontainer's words"),
    ("/mounts/N/source", "]: error mounting \"", "late, in runc's words"),
    ("/mounts/N/type", "]: error mounting \"", "late, in runc's words"),
    ("/process/args", "exec: \"", "late, in runc's words"),
    ("/process/args/N", "exec: \"", "late, in runc's words"),
];

/// A document with a little of everything.
fn rich(stage: &Stage) -> Value {
    let mut spec = stage.bundle.spec.clone();
    let source = stage.bundle.in_rootfs("etc");
    let sets = ["bounding", "effective", "permitted", "inheritable", "ambient"];
    for (place, value) in [
        ("/process/terminal", json!(false)),
        ("/process/user", json!({"uid": 0, "gid": 0, "umask": 18, "additionalGids": [5]})),
        ("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 512, "hard": 1024}])),
        ("/process/oomScoreAdj", json!(10)),
        ("/process/capabilities", sets.map(|set| (set, json!(["CAP_KILL"]))).into_iter().collect()),
        ("/annotations", json!({"org.example": "yes"})),
        (
            "/hooks/createRuntime",
            json!([{"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 5}]),
        ),
        (
            "/mounts/-",
            json!({"destination": "/mnt", "type": "bind", "source": source, "options": ["rbind"]}),
        ),
        ("/linux/resources/memory", json!({"limit": 1 << 29, "swap": 1 << 30})),
        ("/linux/resources/cpu", json!({"shares": 512, "quota": 50_000, "period": 100_000})),
        ("/linux/resources/pids", json!({"limit": 500})),
        ("/linux/maskedPaths", json!(["/proc/kcore"])),
        ("/linux/readonlyPaths", json!(["/proc/sys"])),
        ("/linux/sysctl", json!({"net.ipv4.ip_forward": "0"})),
        ("/linux/rootfsPropagation", json!("rprivate")),
        (
            "/linux/devices",
            json!([{"path": "/dev/full", "type": "c", "major": 1, "minor": 7, "fileMode": 438}]),
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                   "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                   "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}),
        ),
    ] {
        conformance::failures::put(&mut spec, place, value);
    }
    spec
}

/// Every place in a document that may be changed without harm to the machine.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    // Whoever has no mounts of his own, or the host's cgroup, mounts on the host, and limits it.
    const LEFT_ALONE: [&str; 3] = ["/linux/namespaces", "/linux/cgroupsPath", "/linux"];
    if !path.is_empty() && !LEFT_ALONE.contains(&path) && !path.contains("net.ipv4") {
        found.push(path.to_owned());
    }
    if path == LEFT_ALONE[0] {
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, one) in members {
                places(one, &format!("{path}/{name}"), found);
            }
        }
        Value::Array(list) => {
            for (index, one) in list.iter().enumerate() {
                places(one, &format!("{path}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What a place may be given: another type, another size, nothing.
fn values() -> Vec<Option<Value>> {
    let mut values: Vec<_> = [
        json!(null),
        json!(""),
        json!("x"),
        json!("/no/such"),
        json!("y".repeat(5000)),
        json!("a\0b"),
        json!(0),
        json!(-1),
        json!(7),
        json!(i64::MAX),
        json!(18_446_744_073_709_551_616_f64),
        json!(1.5),
        json!(true),
        json!([]),
        json!({}),
        json!([null]),
        json!([1]),
        json!({"a": 1}),
        json!(["x"]),
        json!([[1]]),
    ]
    .map(Some)
    .into();
    values.push(None);
    values
}

impl Change {
    fn apply(&self, document: &mut Value) {
        let Some((parent, name)) = self.place.rsplit_once('/') else { return };
        match (document.pointer_mut(parent), &self.value) {
            (Some(Value::Object(members)), Some(value)) => {
                members.insert(name.to_owned(), value.clone());
            }
            (Some(Value::Object(members)), None) => drop(members.shift_remove(name)),
            (Some(Value::Array(list)), value) => {
                let index: usize = name.parse().unwrap_or_default();
                match value {
                    Some(value) => list[index] = value.clone(),
                    None => drop(list.remove(index)),
                }
            }
            _ => {}
        }
    }

    /// Whether there is a reason for it that one runs what the other does not.
    fn is_known(&self, who: Runs) -> bool {
        let place = self.pattern();
        // In a list Go takes it for an empty text, or for 0: here it is a mistake, and is named.
        let is_null_in_list = self.value == Some(json!([null]))
            || self.value == Some(Value::Null) && place.ends_with("/N");
        let is_listed = PARTINGS.iter().any(|(prefix, runs, _)| {
            place.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                && *runs == who
        });
        is_listed || who == Runs::Runc && is_null_in_list
    }

    /// Whether a message says where to look: by the name of the place or of the list that it is in, or by
    /// the whole way there.
    fn is_named_in(&self, message: &str) -> bool {
        let mut rest = message.to_owned();
        for phrase in SAID_ANYWAY {
            rest = rest.replace(phrase, "");
        }
        let is_name = |step: &&str| step.parse::<usize>().is_err();
        let name = self.place.rsplit('/').find(is_name).unwrap_or_default();
        let mut words = rest.split(|one: char| !one.is_ascii_alphanumeric());
        let is_late = LATE
            .iter()
            .any(|(place, phrase, _)| *place == self.pattern() && message.contains(phrase));
        words.any(|word| word == name) || rest.contains(&self.dotted()) || is_late
    }

    /// The place as krun writes it: `mounts[3].options`.
    fn dotted(&self) -> String {
        let steps = self.place.split('/').skip(1);
        let steps = steps.map(|step| match step.parse::<usize>() {
            Ok(index) => format!("[{index}]"),
            Err(_) => format!(".{step}"),
        });
        steps.collect::<String>().trim_start_matches('.').to_owned()
    }

    /// The place, with `N` for any index.
    fn pattern(&self) -> String {
        let steps = self.place.split('/');
        let steps = steps.map(|step| if step.parse::<usize>().is_ok() { "N" } else { step });
        steps.collect::<Vec<_>>().join("/")
    }
}

fn run(runtime: Result<Runtime>, change: Option<&Change>) -> Result<Outcome> {
    let mut stage = Stage::new(runtime?, &["/bin/true"])?;
    let mut document = rich(&stage);
    if let Some(change) = change {
        change.apply(&mut document);
    }
    stage.bundle.change(|spec| *spec = document)?;
    let log = stage.bundle.path().join("log").to_string_lossy().into_owned();
    let ran = stage.with_bundle(&["--log", &log, "run"], &["box"])?;
    stage.finish().with_context(|| format!("{ran:?}"))?;
    Ok(ran)
}

/// Takes the document to runc, then to krun both ways.
fn compare(change: &Change) -> Result<()> {
    let expected = run(Runtime::runc(), Some(change)).context("runc itself")?;
    for (how, runtime) in [("krun", Runtime::krun()), ("natively", Runtime::krun_natively())] {
        let got = run(runtime, Some(change)).context(how)?;
        let text = got.stderr();
        let is_clear = matches!(got.end, End::Exited(0 | 1)) && !text.contains("panicked");
        ensure!(is_clear, "{how}: {got:?}");
        if !got.is_success() {
            ensure!(change.is_named_in(&text), "{how} does not say where: {got:?}");
        }
        let parting = match (expected.is_success(), got.is_success()) {
            (true, false) => Some(Runs::Runc),
            (false, true) => Some(Runs::Krun),
            _ => None,
        };
        let is_known = parting.is_none_or(|who| change.is_known(who));
        ensure!(is_known, "only {parting:?} runs it: runc: {expected:?}, {how}: {got:?}");
    }
    Ok(())
}

fn cases() -> u32 {
    let wanted = std::env::var("PROPTEST_CASES").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(CASES)
}

#[test]
fn the_document_without_a_change_runs() {
    for runtime in [Runtime::runc(), Runtime::krun(), Runtime::krun_natively()] {
        let ran = run(runtime, None).unwrap();

        assert!(ran.is_success(), "{ran:?}");
    }
}

#[test]
fn what_runc_refuses_is_refused_and_what_it_runs_is_run() {
    let stage = Stage::new(Runtime::runc().unwrap(), &["/bin/true"]).unwrap();
    let mut found = Vec::new();
    places(&rich(&stage), "", &mut found);
    let change = (prop::sample::select(found), prop::sample::select(values()));
    let mut config = Config {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Config::default()
    };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = SEED;
    }
    let seed = config.rng_seed;

    let judged = TestRunner::new(config).run(&change, |(place, value)| {
        let change = Change { place, value };
        compare(&change).map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });

    match judged {
        Err(TestError::Fail(reason, (place, value))) => {
            panic!("seed {seed}: {place} is {value:?}: {reason}")
        }
        judged => judged.expect("there are documents"),
    }
}
